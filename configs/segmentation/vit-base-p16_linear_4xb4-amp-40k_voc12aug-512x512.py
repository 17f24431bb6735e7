"""A linear layer on a frozen ViT-B/16, PASCAL VOC 2012 with the additional masks, 40k iterations.

Paper: none publishes this. It is iBOT's recipe for ADE20K (arXiv 2111.07832) carried over: rate 8e-4 for 16
images, the final norm on all four maps. Data, crop and test are mmseg's, and so is the number of iterations.
Command: tools/dist_train.sh CONFIG 4
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Multi-scale test: tools/test.py CONFIG CHECKPOINT --tta
Hardware: 4 GPUs, 4 images each. Automatic mixed precision.
Expected: no published number; not yet measured by this project.
"""

_base_ = "vit-small-p16_linear_4xb4-amp-40k_voc12aug-512x512.py"

pretrained = "checkpoints/vit-base-p16_backbone.pth"

model = dict(
    backbone=dict(
        arch="deit-base",
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
    decode_head=dict(in_channels=[768, 768, 768, 768], channels=4 * 768),
)
optim_wrapper = dict(optimizer=dict(lr=8e-4))
