"""UperNet, ViT-L/16, ADE20K, 160k iterations: the config file that iBOT released.

Paper: iBOT (arXiv 2111.07832), released config file: rate 2e-5 for 16 images, layer decay 0.95, stochastic
depth 0.2, maps of blocks 8, 12, 16 and 24 without a norm. Different: pos_embed and cls_token are not
weight-decayed.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Multi-scale test: tools/test.py CONFIG CHECKPOINT --tta
Hardware: 8 GPUs, 2 images each. Automatic mixed precision.
Expected: no published number; not yet measured by this project.
"""

_base_ = "vit-small-p16_upernet_4xb4-amp-160k_ade20k-512x512.py"

pretrained = "checkpoints/vit-large-p16_backbone.pth"

model = dict(
    backbone=dict(
        arch="large",
        out_indices=[7, 11, 15, 23],
        out_norm="none",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024], channels=1024),
    auxiliary_head=dict(in_channels=1024),
)
_base_.model.neck[0].in_channels = 1024
optim_wrapper = dict(
    optimizer=dict(lr=2e-5),
    paramwise_cfg=dict(layer_decay_rate=0.95),
)
train_dataloader = dict(batch_size=2)
