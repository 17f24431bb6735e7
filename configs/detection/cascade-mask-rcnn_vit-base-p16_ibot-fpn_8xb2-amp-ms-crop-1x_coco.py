"""Cascade Mask R-CNN, ViT-B/16, COCO, 12 epochs: iBOT's recipe, which SERE points to for dense
tasks.

Paper: iBOT (arXiv 2111.07832), command of its README ("1x"): layer decay 0.75, stochastic depth
0.2.
Positions are resized by size when the weights are loaded and by DINO's rule at run time; warm-up of 500
iterations.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Hardware: 8 GPUs, 2 images each. Automatic mixed precision, gradient checkpointing.
Expected: iBOT ViT-B/16 51.2 box AP, 44.2 mask AP, published by its README; not yet measured by this
project.
"""

_base_ = "cascade-mask-rcnn_vit-small-p16_ibot-fpn_8xb4-amp-ms-crop-1x_coco.py"

pretrained = "checkpoints/vit-base-p16_backbone.pth"

model = dict(
    backbone=dict(
        arch="deit-base",
        img_size=(672, 1088),  # iBOT's (672, 1092), of which these are whole patches
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
)
_base_.model.neck[0].in_channels = 768
_base_.model.neck[1].in_channels = [768, 768, 768, 768]
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
train_dataloader = dict(batch_size=2)
auto_scale_lr = dict(base_batch_size=16)
