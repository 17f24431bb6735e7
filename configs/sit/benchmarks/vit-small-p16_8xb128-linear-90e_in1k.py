# Linear evaluation of SiT's ViT-S/16 on ImageNet-1k: the class token of the frozen backbone.
# Paper:    none for SiT, whose code has no script for it; mmpretrain's linear benchmark of MoCo v3 (SGD, 90 epochs).
# Command:  bash tools/dist_train.sh configs/sit/benchmarks/vit-small-p16_8xb128-linear-90e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: no published number; not yet measured by this project.
_base_ = ["./vit-small-p16_8xb128-deit-amp-300e_in1k.py"]

model = dict(
    backbone=dict(drop_path_rate=0.0, frozen_stages=12),
    neck=dict(feature="cls"),
    head=dict(
        _delete_=True,
        type="LinearClsHead",
        num_classes=_base_.model.head.num_classes,
        in_channels=384,
        loss=dict(type="CrossEntropyLoss", loss_weight=1.0),
        init_cfg=dict(type="Normal", std=0.01, layer="Linear"),
    ),
    train_cfg=dict(augments=None),
)
train_dataloader = dict(sampler=dict(_delete_=True, type="DefaultSampler", shuffle=True))
del _base_.train_dataloader.dataset.pipeline[3:5]  # RandAugment and random erasing
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=12, momentum=0.9, weight_decay=0.0),
)
param_scheduler = [dict(type="CosineAnnealingLR", T_max=90, by_epoch=True, begin=0, end=90)]
train_cfg = dict(max_epochs=90)
