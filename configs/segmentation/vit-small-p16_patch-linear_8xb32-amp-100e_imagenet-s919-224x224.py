"""ImageNet-S, 919 classes, ViT-S/16 after self-supervised pretraining, 100 epochs: SERE's dense protocol.

Paper: SERE (arXiv 2206.05184), which is fine-tuned with the protocol of ImageNet-S (arXiv 2106.03149): rate
5e-4 for 256 photos, layer decay 0.5, stochastic depth 0.1, no final norm but a new layer norm and a 1x1
convolution that starts at almost zero; logits enlarged twice for the loss, test at a short side of 256.
Different: the sources name no resampling of the crops, which is bilinear here, as torchvision's default.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Hardware: 8 GPUs, 32 images each. Automatic mixed precision.
Expected: mIoU on validation / test with SERE's ViT-S/16 (100 epochs): 41.0 / 40.2, published in the model zoo
of ImageNet-S's authors; not yet measured by this project.
"""

_base_ = [
    "../_base_/plugin.py",
    "../_base_/models/seg_imagenet-s_vit-small-p16.py",
    "../_base_/datasets/seg_imagenet-s.py",
    "../_base_/schedules/seg_imagenet-s-100e.py",
    "../_base_/seg_runtime.py",
]

pretrained = "checkpoints/vit-small-p16_backbone.pth"

model = dict(
    backbone=dict(
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    )
)
log_processor = dict(by_epoch=True)
