"""Mask R-CNN, ViT-S/16 without class token, COCO, 12 epochs: SelfPatch's published recipe.

Paper: SelfPatch (CVPR 2022, arXiv 2206.07990): rate 5e-5 for 8 images, no class token, no norm on
the maps, stochastic depth 0.05, positions resized at run time by DINO's rule.
Different: 6 attention heads, as in pretraining; the released config has 8, which loads silently and
computes another function (mask-rcnn_vit-small-p16_selfpatch-8heads-fpn_... is that form). All norms
are exempt from weight decay, those of the pyramid too.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Hardware: 8 GPUs, 1 image each. Automatic mixed precision.
Expected: 42.1 box AP, 38.5 mask AP with SelfPatch's backbone (200 epochs), 40.8 and 37.3 with
DINO's, published by SelfPatch; it is not known with how many heads. Not yet measured by this
project.
"""

_base_ = "mask-rcnn_vit-small-p16_selfpatch-fpn_8xb2-amp-ms-crop-1x_coco.py"

optim_wrapper = dict(optimizer=dict(lr=5e-5))
train_dataloader = dict(batch_size=1)
auto_scale_lr = dict(base_batch_size=8)
