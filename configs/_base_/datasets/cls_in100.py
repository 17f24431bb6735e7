# ImageNet-100 at 224 pixels for classification: a random resized crop and a flip, nothing else.
# Expected under data/imagenet100: train/<class>/*.JPEG and val/<class>/*.JPEG, as tools/convert_dataset.py links them.
_base_ = ["./cls_folders.py"]

data_root = "data/imagenet100"

data_preprocessor = dict(
    num_classes=100,
    mean=[255 * x for x in (0.4595, 0.4520, 0.3900)],
    std=[255 * x for x in (0.2547, 0.2385, 0.2548)],
    to_rgb=True,
)
bilinear = dict(backend="pillow", interpolation="bilinear")
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResizedCrop", scale=224, **bilinear),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=256, edge="short", **bilinear),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]
train = dict(data_root=data_root + "/train", pipeline=train_pipeline)
val = dict(data_root=data_root + "/val", pipeline=test_pipeline)
train_dataloader = dict(num_workers=16, dataset=train)
val_dataloader = dict(num_workers=16, dataset=val)
test_dataloader = val_dataloader
