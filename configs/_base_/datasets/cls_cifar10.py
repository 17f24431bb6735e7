# CIFAR-10 in its native size for classification: a shifted crop and a flip, nothing else.
# Expected under data/cifar10: train/<class>/*.png and test/<class>/*.png, as tools/convert_dataset.py writes them.
_base_ = ["./cls_folders.py"]

data_root = "data/cifar10"

data_preprocessor = dict(
    num_classes=10,
    mean=[255 * x for x in (0.4914, 0.4822, 0.4465)],
    std=[255 * x for x in (0.2470, 0.2435, 0.2616)],
    to_rgb=True,
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomCrop", crop_size=32, padding=4),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
test_pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]
train_dataloader = dict(dataset=dict(data_root=data_root + "/train", pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root + "/test", pipeline=test_pipeline))
test_dataloader = val_dataloader
