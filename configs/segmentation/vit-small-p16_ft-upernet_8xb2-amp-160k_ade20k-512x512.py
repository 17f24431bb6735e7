"""UperNet, ViT-S/16 after fine-tuning on ImageNet, ADE20K, 160k iterations: iBOT's "pt2ft" recipe.

Paper: iBOT (arXiv 2111.07832), released config file for backbones that were fine-tuned on ImageNet first:
rate 3e-5 for 16 images, layer decay 0.9, no norm on the maps. Different: pos_embed and cls_token are not
weight-decayed.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=FINE_TUNED_BACKBONE.pth
Multi-scale test: tools/test.py CONFIG CHECKPOINT --tta
Hardware: 8 GPUs, 2 images each. Automatic mixed precision.
Expected: no published number; not yet measured by this project.
"""

_base_ = "vit-small-p16_upernet_4xb4-amp-160k_ade20k-512x512.py"

pretrained = "checkpoints/vit-small-p16_finetuned_backbone.pth"

model = dict(
    backbone=dict(
        out_norm="none",
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    )
)
train_dataloader = dict(batch_size=2)
