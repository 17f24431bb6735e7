# Linear probe of MoCo v3's ViT-S/16 on ImageNet-1k: the class token.
# Paper:    An Empirical Study of Training Self-Supervised Vision Transformers, arXiv 2104.02057, and mmpretrain's
#           recipe of it.
# Command:  bash tools/dist_train.sh configs/mocov3/benchmarks/vit-small-p16_8xb128-linear-90e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024); another number: --auto-scale-lr.
# Expected: no number is quoted here; see the paper. Not yet measured by this project.
_base_ = [
    "../../_base_/models/cls_linear_vit-small-p16.py",
    "../../_base_/datasets/cls_linear.py",
    "../../_base_/schedules/linear_sgd-100e.py",
    "../../_base_/cls_runtime.py",
]

model = dict(
    backbone=dict(
        type="mmrel.MoCoV3ViT",
        arch=dict(
            _delete_=True, embed_dims=384, num_layers=12, num_heads=12, feedforward_channels=1536
        ),
    ),
    n_last_blocks=1,
)
optim_wrapper = dict(optimizer=dict(lr=3 * 1024 / 256))
_base_.param_scheduler[0].update(T_max=90, end=90)
train_cfg = dict(max_epochs=90)
