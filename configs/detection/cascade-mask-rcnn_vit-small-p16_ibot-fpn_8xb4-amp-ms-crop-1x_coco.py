"""Cascade Mask R-CNN, ViT-S/16, COCO, 12 epochs: iBOT's recipe, which SERE points to for dense
tasks.

Paper: iBOT (arXiv 2111.07832), command of its README ("1x"): layer decay 0.8, stochastic depth 0.1.
Different: pos_embed and cls_token are not weight-decayed (iBOT's exempting rule misses them).
Positions are resized by size when the weights are loaded and by DINO's rule at run time; warm-up of 500
iterations.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Hardware: 8 GPUs, 4 images each. Automatic mixed precision, gradient checkpointing.
Expected: iBOT ViT-S/16 49.4 box AP, 42.6 mask AP, published by its paper; not yet measured by this
project.
"""

_base_ = [
    "../_base_/models/det_cascade-mask-rcnn_vit-small-p16.py",
    "../_base_/datasets/det_coco-ms-crop.py",
    "../_base_/schedules/det_adamw-1x.py",
    "../_base_/schedules/weight_decay.py",
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
    paramwise_cfg=dict(_base_.exempt, layer_decay_rate=0.8),
)
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=32)
