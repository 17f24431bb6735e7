"""Mask R-CNN, ViT-S/16 (class token), COCO, 12 epochs: for backbones of SERE, iBOT and DINO.

Paper: settings of SelfPatch (CVPR 2022) on COCO, for a backbone with class token and 16 images per
step; detector: Mask R-CNN (arXiv 1703.06870). Position embedding: resized at run time by DINO's
rule.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Hardware: 8 GPUs, 2 images each. Automatic mixed precision.
Expected: DINO ViT-S/16 (200 epochs) 40.8 box AP, 37.3 mask AP, published by SelfPatch for its own
code (without class token); not yet measured by this project.
"""

_base_ = [
    "../_base_/models/det_mask-rcnn_vit-small-p16.py",
    "../_base_/datasets/det_coco-ms-crop.py",
    "../_base_/schedules/det_adamw-1x.py",
    "../_base_/schedules/weight_decay.py",
    "../_base_/det_runtime.py",
]

pretrained = "checkpoints/vit-small-p16_backbone.pth"

# SelfPatch's released detection config has 8 heads, its pretraining 6. The weights have the same
# shapes, so 8 would load and compute another function; deit-small has 6.
model = dict(
    backbone=dict(
        pos_interpolation="dino",
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    )
)
optim_wrapper = dict(paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=_base_.exempt_tokens))
train_dataloader = dict(batch_size=2)
auto_scale_lr = dict(base_batch_size=16)
