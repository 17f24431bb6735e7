# Fine-tuning of the scenes' small ViT, in RelViT's way, on the scenes' 10 classes with 50 labelled images each: some
# three minutes on one CPU core.
# Paper:    none; a shrunk form of the fine-tuning recipes, to compare initialisations on one budget.
# Command:  python tools/train.py configs/relvit/benchmarks/vit-tiny-p8_scenes.py
#               --cfg-options model.backbone.init_cfg.checkpoint=CHECKPOINT
#           with the last one of configs/quickstart/relvit_vit-tiny-p8_scenes.py; without it: random weights.
# Hardware: one CPU core or one GPU.
# Expected: see the README beside the recipes; there is no published number.
_base_ = [
    "../../_base_/models/vit_scenes.py",
    "../../_base_/datasets/cls_folders.py",
    "../../_base_/schedules/relvit_adamw.py",
    "../../_base_/cls_runtime.py",
]

data_root = "data/scenes/classification"
pretrained = None
model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="mmrel.ViT",
        **_base_.vit_scenes,
        img_size=64,
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
    neck=dict(type="mmrel.TokenFeature", feature="cls"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=128, init_cfg=None),
)
data_preprocessor = dict(
    num_classes=10, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
)
bilinear = dict(backend="pillow", interpolation="bilinear")
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResizedCrop", scale=64, crop_ratio_range=(0.4, 1.0), **bilinear),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=64, edge="short", **bilinear),
    dict(type="PackInputs"),
]
quarter = dict(indices=list(range(0, 2000, 4)), pipeline=train_pipeline)
train_dataloader = dict(
    batch_size=32, num_workers=0, dataset=dict(quarter, data_root=data_root + "/train")
)
val_dataloader = dict(
    batch_size=125,
    num_workers=0,
    dataset=dict(data_root=data_root + "/val", pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=40, val_interval=5)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(save_best=None))
auto_scale_lr = dict(base_batch_size=32)
