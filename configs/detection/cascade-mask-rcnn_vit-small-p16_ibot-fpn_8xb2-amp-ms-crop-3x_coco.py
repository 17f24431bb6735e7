"""Cascade Mask R-CNN, ViT-S/16, COCO, 36 epochs: the config file that iBOT released.

Paper: iBOT (arXiv 2111.07832), released config file ("3x"): layer decay 0.75, stochastic depth 0.1.
Positions are resized by size when the weights are loaded and by DINO's rule at run time; warm-up of 500
iterations.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Hardware: 8 GPUs, 2 images each. Automatic mixed precision, gradient checkpointing.
Expected: no published number for this schedule; not yet measured by this project.
"""

_base_ = [
    "../_base_/models/det_cascade-mask-rcnn_vit-small-p16.py",
    "../_base_/datasets/det_coco-ms-crop.py",
    "../_base_/schedules/det_adamw-3x.py",
    "../_base_/det_runtime.py",
]

param_scheduler = [dict(_base_.param_scheduler[0], end=500), _base_.param_scheduler[1]]
pretrained = "checkpoints/vit-small-p16_backbone.pth"

model = dict(
    backbone=dict(
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    )
)
optim_wrapper = dict(
    constructor="mmrel.LayerDecayOptimWrapperConstructor",
    paramwise_cfg=dict(
        layer_decay_rate=0.75,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={".pos_embed": dict(decay_mult=0.0), ".cls_token": dict(decay_mult=0.0)},
    ),
)
train_dataloader = dict(batch_size=2)
auto_scale_lr = dict(base_batch_size=16)
