# Fine-tuning of the scenes' small ViT, as for SiT's small sets, on the scenes' 10 classes: some two minutes on a CPU.
# Paper:    none; a shrunk form of the fine-tuning recipes, to compare backbones on one budget.
# Command:  python tools/train.py configs/sit/benchmarks/vit-tiny-p8_sit_scenes.py
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           (without the option: random weights) after python tools/make_scenes.py data/scenes
# Hardware: one CPU core or one GPU.
# Expected: 73.9 top-1 from SiT's teacher, 65.8 from random weights (mean of seeds 0, 1, 2); nothing is published.
_base_ = [
    "../../_base_/models/vit_scenes.py",
    "../../_base_/models/cls_sit_vit-small-p16.py",
    "../../_base_/datasets/cls_deit.py",
    "../../_base_/schedules/cls_deit-300e.py",
    "../../_base_/cls_runtime.py",
]

data_root = "data/scenes/classification"
num_classes, epochs = 10, 10
model = dict(
    backbone=dict(
        _delete_=True,
        type="mmrel.ViT",
        **_base_.vit_scenes,
        img_size=64,
        init_cfg=dict(type="Pretrained", checkpoint=_base_.pretrained, prefix="backbone."),
    ),
    head=dict(num_classes=num_classes, in_channels=128),
    train_cfg=dict(augments=None),
)
data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(
    num_workers=0,
    sampler=dict(_delete_=True, type="DefaultSampler", shuffle=True),
    dataset=dict(data_root=data_root + "/train"),
)
_base_.train_dataloader.dataset.pipeline[1].update(scale=64, crop_ratio_range=(0.3, 0.6))
del _base_.train_dataloader.dataset.pipeline[3:5]  # RandAugment and random erasing
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="CenterCrop", crop_size=64),
    dict(type="PackInputs"),
]
val_dataloader = dict(
    batch_size=125,
    num_workers=0,
    dataset=dict(data_root=data_root + "/val", pipeline=test_pipeline),
)
test_dataloader = val_dataloader
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(
        type="LinearLR",
        start_factor=0.01,
        by_epoch=True,
        begin=0,
        end=1,
        convert_to_iter_based=True,
    ),
    dict(
        type="CosineAnnealingLR",
        eta_min=1e-5,
        by_epoch=True,
        begin=1,
        end=epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=epochs, val_interval=1)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=epochs, save_best=None))
