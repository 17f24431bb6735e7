"""Mask R-CNN, ViT-B/16 (class token), COCO, 12 epochs: for backbones of SERE, iBOT and DINO.

Paper: the ViT-S settings of SelfPatch (CVPR 2022), with iBOT's (arXiv 2111.07832) stochastic depth
and gradient checkpointing for ViT-B; no paper publishes this combination.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Hardware: 8 GPUs, 2 images each. Automatic mixed precision.
Expected: no published number; not yet measured by this project.
"""

_base_ = "mask-rcnn_vit-small-p16_fpn_8xb2-amp-ms-crop-1x_coco.py"

pretrained = "checkpoints/vit-base-p16_backbone.pth"

model = dict(
    backbone=dict(
        arch="deit-base",
        drop_path_rate=0.2,
        with_cp=True,
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
)
_base_.model.neck[0].in_channels = 768
_base_.model.neck[1].in_channels = [768, 768, 768, 768]
