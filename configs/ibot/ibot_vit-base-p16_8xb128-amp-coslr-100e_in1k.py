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
_base_.train_dataloader.dataset.pipeline[1].update(
    global_scale=(0.32, 1.0), local_scale=(0.05, 0.32)
)
optim_wrapper = dict(optimizer=dict(lr=3e-3))
_base_.param_scheduler[0].end = 2e-6
default_hooks = dict(last_layer_freeze=dict(epochs=3))
