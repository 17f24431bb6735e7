"""UperNet, ViT-B/16, PASCAL VOC 2012 with the additional masks, 40k iterations.

Paper: none publishes this. It is iBOT's recipe for ADE20K (arXiv 2111.07832) carried over: rate 8e-5 for 16
images, layer decay 0.65, the final norm on all four maps. Data, crop and test are mmseg's, and so is the
number of iterations.
Command: tools/dist_train.sh CONFIG 8
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Multi-scale test: tools/test.py CONFIG CHECKPOINT --tta
Hardware: 8 GPUs, 2 images each. Automatic mixed precision.
Expected: no published number; not yet measured by this project.
"""

_base_ = "vit-small-p16_upernet_4xb4-amp-40k_voc12aug-512x512.py"

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
