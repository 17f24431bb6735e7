"""A linear layer on a frozen ViT-B/16, ADE20K, 160k iterations: iBOT's dense linear probe.

Paper: iBOT (arXiv 2111.07832), command of its README: rate 8e-4 for 16 images (the released config file says
7e-4), the final norm on all four maps, no dropout.
Command: tools/dist_train.sh CONFIG 4
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Multi-scale test: tools/test.py CONFIG CHECKPOINT --tta
Hardware: 4 GPUs, 4 images each. Automatic mixed precision.
Expected: iBOT ViT-B/16 38.3 mIoU, published by its paper; not yet measured by this project.
"""

_base_ = "vit-small-p16_linear_4xb4-amp-160k_ade20k-512x512.py"

pretrained = "checkpoints/vit-base-p16_backbone.pth"

model = dict(
    backbone=dict(
        arch="deit-base",
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
    decode_head=dict(in_channels=[768, 768, 768, 768], channels=4 * 768),
)
optim_wrapper = dict(optimizer=dict(lr=8e-4))
