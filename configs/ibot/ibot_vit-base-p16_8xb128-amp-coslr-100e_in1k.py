# iBOT, ViT-B/16, 100 epochs on ImageNet-1k: the base of SERE's recipe.
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022, arXiv 2111.07832;
#           settings of the iBOT part of SERE's official recipe.
# Command:  bash tools/dist_train.sh configs/ibot/ibot_vit-base-p16_8xb128-amp-coslr-100e_in1k.py 8
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: no published figure known; not yet measured by this project.
_base_ = ["./ibot_vit-small-p16_8xb128-amp-coslr-100e_in1k.py"]

model = dict(
    backbone=dict(arch="deit-base"),
    neck=dict(in_channels=768, norm_last_layer=True),
    head=dict(teacher_temperature=dict(warmup_epochs=50)),
    patch_head=dict(teacher_temperature=dict(warmup_epochs=50)),
)
train_pipeline = [
    dict(type="mmrel.DecodeImage"),
    dict(type="mmrel.MultiCrop", global_scale=(0.32, 1.0), local_scale=(0.05, 0.32), num_local=10),
    dict(type="mmrel.DrawColorAugmentation"),
    dict(type="mmrel.BlockMask", patch_size=16, ratios=(0.0, 0.3), spreads=(0.0, 0.2)),
    dict(type="mmrel.PackViews"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = [
    dict(
        type="mmrel.CosineSchedule",
        param_name="lr",
        end=2e-6,
        warmup=10,
        convert_to_iter_based=True,
    ),
    dict(
        type="mmrel.CosineSchedule", param_name="weight_decay", end=0.4, convert_to_iter_based=True
    ),
]
default_hooks = dict(last_layer_freeze=dict(epochs=3))
