"""ImageNet-S, the 919 classes, with the augmentation that SERE's fine-tuning has there.

A crop of 14 to 100 % of the photo at 224 pixels, of photo and mask alike; flip, colour jitter, grey and blur of the
photo. Pillow and torchvision work in RGB, mmseg in BGR, hence the conversions. Test: short side 256.
"""

dataset_type = "mmrel.ImageNetSDataset"
subset = 919
data_root = "data/imagenet-s/ImageNetS919"
jitter = dict(
    type="mmpretrain.torchvision/ColorJitter",
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="mmrel.LoadImageNetSAnnotations"),
    dict(type="mmrel.RandomResizedCropWithLabels", size=224, scale=(0.14, 1.0)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="mmpretrain.NumpyToPIL", to_rgb=True),
    dict(type="RandomApply", transforms=[jitter], prob=0.8),
    dict(type="mmpretrain.torchvision/RandomGrayscale", p=0.2),
    dict(type="mmpretrain.PILToNumpy", to_bgr=True),
    dict(
        type="mmpretrain.GaussianBlur",
        magnitude_range=(0.1, 2.0),
        magnitude_std="inf",
        prob=0.5,
    ),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeShortestEdge", scale=256, max_size=100000),
    dict(type="mmrel.LoadImageNetSAnnotations"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type=dataset_type,
        subset=subset,
        data_root=data_root,
        data_prefix=dict(img_path="train-semi", seg_map_path="train-semi-segmentation"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type=dataset_type,
        subset=subset,
        data_root=data_root,
        data_prefix=dict(img_path="validation", seg_map_path="validation-segmentation"),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="mmrel.ImageNetSMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
