"""Mask R-CNN, ViT-S/16 without class token and with 8 heads, COCO: SelfPatch's config as released.

Paper: SelfPatch (CVPR 2022, arXiv 2206.07990). The released detection config has 8 attention heads
of 48 channels for weights that were pretrained with 6 of 64: the shapes are equal, the function is
not. To reproduce the published code only; the 6-head form is the sound one.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Hardware: 8 GPUs, 1 image each. Automatic mixed precision.
Expected: 42.1 box AP, 38.5 mask AP, published by SelfPatch; it is not known with how many heads.
Not yet measured by this project.
"""

_base_ = "mask-rcnn_vit-small-p16_selfpatch-fpn_8xb1-amp-ms-crop-1x_coco.py"

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=384, num_layers=12, num_heads=8, feedforward_channels=1536
        ),
        pretrained_num_heads=6,
    )
)
