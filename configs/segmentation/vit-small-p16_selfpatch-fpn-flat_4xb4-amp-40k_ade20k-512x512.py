"""Semantic FPN on four maps of stride 16, ViT-S/16, ADE20K, 40k: SelfPatch's released form.

Paper: SelfPatch (CVPR 2022, arXiv 2206.07990). The released backbone has no pyramid: FPN gets four
maps of stride 16, the head upsamples the coarser branches as if the strides were 4 to 32 and then
resizes them to the first one, so the logits have stride 16. To reproduce the published number; the
form with a pyramid is vit-small-p16_selfpatch-fpn_...
The official run also weight-decays the norms of the backbone, which its rule does not name; here none is.
Command: tools/dist_train.sh CONFIG 4
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Hardware: 4 GPUs, 4 images each. Automatic mixed precision.
Expected: 41.2 mIoU with SelfPatch's backbone, 38.3 with DINO's, published by SelfPatch; not yet
measured by this project.
"""

_base_ = "vit-small-p16_selfpatch-fpn_4xb4-amp-40k_ade20k-512x512.py"

model = dict(
    neck=[
        dict(type="mmrel.ViTPyramid", in_channels=384, mode="none"),
        dict(type="FPN", in_channels=[384, 384, 384, 384], out_channels=256, num_outs=4),
    ]
)
