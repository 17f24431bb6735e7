# ImageNet-1k for linear probing: random crops and flips for training, and the central 224 of 256 pixels for evaluation.
# Expected under data_root: train/<class>/*.JPEG and val/<class>/*.JPEG.
_base_ = ["./cls_folders.py"]

data_root = "data/imagenet"
data_preprocessor = dict(
    num_classes=1000,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
# torchvision's default, which DINO and iBOT leave in force; DINOv2 and MAE set bicubic.
crop = dict(type="RandomResizedCrop", scale=224, backend="pillow", interpolation="bilinear")
train_pipeline = [
    dict(type="LoadImageFromFile"),
    crop,
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=256, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]
train_dataloader = dict(
    batch_size=128, dataset=dict(data_root=data_root + "/train", pipeline=train_pipeline)
)
val_dataloader = dict(
    batch_size=128, dataset=dict(data_root=data_root + "/val", pipeline=test_pipeline)
)
test_dataloader = val_dataloader
