"""Mask R-CNN, ViT-S/16 without class token, COCO, 12 epochs: SelfPatch's recipe for 16 images.

Paper: SelfPatch (CVPR 2022, arXiv 2206.07990); rate and batch are doubled, all else is as in the
8xb1 form. A backbone with class token and final norm (DINO's) loads too; both are dropped.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Hardware: 8 GPUs, 2 images each. Automatic mixed precision.
Expected: 42.1 box AP, 38.5 mask AP, published by SelfPatch for 8 images per step; not yet measured
by this project.
"""

_base_ = "mask-rcnn_vit-small-p16_fpn_8xb2-amp-ms-crop-1x_coco.py"

pretrained = "checkpoints/selfpatch_vit-small-p16_backbone.pth"

model = dict(
    backbone=dict(
        with_cls_token=False,
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    )
)
