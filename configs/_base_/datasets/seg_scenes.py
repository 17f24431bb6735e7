"""The bundled scenes in ADE20K's layout, as tools/make_scenes.py writes them.

In the masks 0 is unlabelled, class i has the value i + 1 and a border of 255 is ignored.
"""

dataset_type = "BaseSegDataset"
data_root = "data/scenes/segmentation/"
metainfo = dict(
    classes=(
        "sky",
        "water",
        "grass",
        "gravel",
        "wall",
        "star",
        "gear",
        "fish",
        "leaf",
        "cross",
        "moon",
        "ring",
        "arrow",
        "flower",
        "bean",
    ),
    palette=[
        [135, 206, 235],
        [30, 90, 200],
        [60, 160, 60],
        [150, 150, 150],
        [150, 75, 50],
        [230, 25, 75],
        [245, 130, 48],
        [255, 225, 25],
        [128, 220, 40],
        [0, 128, 80],
        [0, 200, 200],
        [0, 0, 160],
        [145, 30, 180],
        [240, 50, 230],
        [250, 160, 190],
    ],
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path="images/training", seg_map_path="annotations/training"),
        img_suffix=".jpg",
        seg_map_suffix=".png",
        reduce_zero_label=True,
        metainfo=metainfo,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path="images/validation", seg_map_path="annotations/validation"),
        img_suffix=".jpg",
        seg_map_suffix=".png",
        reduce_zero_label=True,
        metainfo=metainfo,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
