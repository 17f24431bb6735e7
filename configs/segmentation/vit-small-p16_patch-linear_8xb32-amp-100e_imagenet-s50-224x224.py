"""ImageNet-S, 50 classes, ViT-S/16 after self-supervised pretraining, 100 epochs: SERE's dense protocol.

Paper: SERE (arXiv 2206.05184), which is fine-tuned with the protocol of ImageNet-S (arXiv 2106.03149): rate
5e-4 for 256 photos, layer decay 0.5, stochastic depth 0.1, no final norm but a new layer norm and a 1x1
convolution that starts at almost zero; logits enlarged twice for the loss, test at a short side of 256.
Different: the sources name no resampling of the crops, which is bilinear here, as torchvision's default.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Hardware: 8 GPUs, 32 images each. Automatic mixed precision.
Expected: no published number of SERE is known; not yet measured by this project.
"""

_base_ = "vit-small-p16_patch-linear_8xb32-amp-100e_imagenet-s919-224x224.py"

pretrained = "checkpoints/vit-small-p16_backbone.pth"

model = dict(
    backbone=dict(
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
    decode_head=dict(num_classes=51),
)
data = dict(subset=50, data_root="data/imagenet-s/ImageNetS50")
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = dict(dataset=data)
