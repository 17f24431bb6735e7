"""Cascade Mask R-CNN, ViT-B/16, COCO, 36 epochs: the config file that iBOT released.

Paper: iBOT (arXiv 2111.07832), released config file ("3x"): layer decay 0.65, stochastic depth 0.2.
Positions are resized by size when the weights are loaded and by DINO's rule at run time; warm-up of 500
iterations.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Hardware: 8 GPUs, 2 images each. Automatic mixed precision, gradient checkpointing.
Expected: no published number for this schedule; not yet measured by this project.
"""

_base_ = "cascade-mask-rcnn_vit-base-p16_ibot-fpn_8xb2-amp-ms-crop-1x_coco.py"

optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.65))
train_cfg = dict(max_epochs=36)
_base_.param_scheduler[1].update(end=36, milestones=[27, 33])
