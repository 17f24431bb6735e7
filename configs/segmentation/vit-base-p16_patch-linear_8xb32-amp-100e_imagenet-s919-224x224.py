"""ImageNet-S, 919 classes, ViT-B/16 after self-supervised pretraining, 100 epochs: SERE's dense protocol.

Paper: SERE (arXiv 2206.05184), which is fine-tuned with the protocol of ImageNet-S (arXiv 2106.03149): rate
5e-4 for 256 photos, layer decay 0.5, stochastic depth 0.1, no final norm but a new layer norm and a 1x1
convolution that starts at almost zero; logits enlarged twice for the loss, test at a short side of 256.
Different: the sources name no resampling of the crops, which is bilinear here, as torchvision's default.
No command for ViT-B is published: the values are those of ViT-S. (For MAE's ViT-B the same authors took a
layer decay of 0.6, after fine-tuning 0.4 with a rate of 1e-4.)
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Hardware: 8 GPUs, 32 images each. Automatic mixed precision.
Expected: mIoU on validation / test with SERE's ViT-B/16: 48.6 / 48.2, published for SERE; not yet measured by
this project.
"""

_base_ = "vit-small-p16_patch-linear_8xb32-amp-100e_imagenet-s919-224x224.py"

pretrained = "checkpoints/vit-base-p16_backbone.pth"

model = dict(
    backbone=dict(
        arch="deit-base",
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
    decode_head=dict(in_channels=768),
)
