# SiT, ViT-S/16, 800 epochs on ImageNet-1k.
# Paper:    SiT: Self-supervised vIsion Transformer, arXiv 2104.03602, version 3; settings of the official code.
# Command:  bash tools/dist_train.sh configs/sit/sit_vit-small-p16_4xb64-amp-coslr-800e_in1k.py 4
# Hardware: 4 GPUs, 64 images each (batch 256).
# Expected: no number is quoted here; see the paper. Not yet measured by this project.
_base_ = [
    "../_base_/models/sit_vit-small-p16.py",
    "../_base_/datasets/imagenet_multicrop.py",
    "../_base_/schedules/adamw_coslr.py",
    "../_base_/default_runtime.py",
]

data_preprocessor = dict(type="mmrel.CorruptingViewPreprocessor")
corruption = dict(
    type="mmrel.DrawCorruption", material="zeros", drop_area=0.5, replace_area=0.3, align=1, rho=0.5
)
_base_.train_pipeline[1].update(global_scale=(0.2, 1.0), num_local=0)
_base_.train_pipeline[3].update(patch_size=16)
pipeline = [*_base_.train_pipeline[:3], corruption, *_base_.train_pipeline[3:]]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
_base_.param_scheduler[1].end = 0.1
train_cfg = dict(max_epochs=800)
default_hooks = dict(
    knn=_base_.knn,
    checkpoint=dict(interval=20),
    last_layer_freeze=dict(epochs=0),  # there are no prototypes
)
auto_scale_lr = dict(base_batch_size=256)
