# CIFAR-10 in its native size for RelViT's pretraining.
# Expected: data/cifar10/train/<class>/*.png and data/cifar10/test/<class>/*.png, as tools/convert_dataset.py writes
# them.
_base_ = ["./relvit_folders.py"]

data_root = "data/cifar10/train"
val_root = "data/cifar10/test"

data_preprocessor = dict(
    mean=[255 * x for x in (0.4914, 0.4822, 0.4465)],
    std=[255 * x for x in (0.2470, 0.2435, 0.2616)],
)
train_pipeline = [
    dict(type="mmrel.DecodeImage"),
    dict(type="mmrel.PaddedCrop", size=32, padding=4),
    dict(type="mmrel.DrawPatchAugmentation", patch_size=4),
    dict(type="mmrel.PackViews", patch_size=4),
]
# The pretext loss on held-out images, without shifts, flips and patch augmentation.
val_pipeline = [
    dict(type="mmrel.DecodeImage"),
    dict(type="mmrel.PaddedCrop", size=32, padding=0, flip_prob=0.0),
    dict(type="mmrel.PackViews", patch_size=4),
]
knn_pipeline = [dict(type="mmrel.DecodeImage"), dict(type="PackInputs")]

train = dict(data_root=data_root)
test = dict(data_root=val_root)
train_dataloader = dict(num_workers=8, dataset=dict(train, pipeline=train_pipeline))
val_dataloader = dict(num_workers=8, dataset=dict(test, pipeline=val_pipeline))
knn = dict(
    bank_dataloader=dict(num_workers=8, dataset=dict(train, pipeline=knn_pipeline)),
    val_dataloader=dict(num_workers=8, dataset=dict(test, pipeline=knn_pipeline)),
)
