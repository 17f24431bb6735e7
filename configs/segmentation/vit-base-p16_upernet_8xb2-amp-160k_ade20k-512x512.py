"""UperNet, ViT-B/16, ADE20K, 160k iterations: iBOT's recipe, which SERE points to for dense tasks.

Paper: iBOT (arXiv 2111.07832), command of its README: rate 8e-5 for 16 images (the released config
file says 7e-4, but the command gave the published number), layer decay 0.65, the final norm on all
four maps.
Different: pos_embed and cls_token are not weight-decayed.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Multi-scale test: tools/test.py CONFIG CHECKPOINT --tta
Hardware: 8 GPUs, 2 images each. Automatic mixed precision.
Expected: iBOT ViT-B/16 50.0 mIoU, published by its README; not yet measured by this project.
"""

_base_ = "vit-small-p16_upernet_4xb4-amp-160k_ade20k-512x512.py"

pretrained = "checkpoints/vit-base-p16_backbone.pth"

model = dict(
    backbone=dict(
        arch="deit-base",
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
    decode_head=dict(in_channels=[768, 768, 768, 768], channels=768),
    auxiliary_head=dict(in_channels=768),
)
_base_.model.neck[0].in_channels = 768
optim_wrapper = dict(
    optimizer=dict(lr=8e-5),
    paramwise_cfg=dict(layer_decay_rate=0.65),
)
train_dataloader = dict(batch_size=2)
