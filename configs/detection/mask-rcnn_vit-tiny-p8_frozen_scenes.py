"""Mask R-CNN on a frozen small ViT with 8-pixel patches, on the bundled scenes: what the quickstart runs.

Paper: none; detection from frozen features in small, so that box AP measures what pretraining has learnt.
Command: tools/train.py CONFIG --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
    (without the option, or with None: random weights; for a backbone without class token and final
    norm, as SelfPatch's, also model.backbone.with_cls_token=False model.backbone.out_norm=none)
Hardware: one CPU core or one GPU.
Expected: see the quickstart's report; there is no published number.
"""

_base_ = "mask-rcnn_vit-tiny-p8_scenes.py"

model = dict(backbone=dict(frozen_stages=4))
optim_wrapper = dict(
    constructor="DefaultOptimWrapperConstructor",  # a frozen backbone has no rates to decay
    paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0, bias_decay_mult=0.0),
)
