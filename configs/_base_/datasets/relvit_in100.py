# ImageNet-100 at 224 pixels for RelViT's pretraining.
# Expected: data/imagenet100/train/<class>/*.JPEG and data/imagenet100/val/<class>/*.JPEG, as tools/convert_dataset.py
# links them.
_base_ = ["./relvit_folders.py"]

data_root = "data/imagenet100/train"
val_root = "data/imagenet100/val"

data_preprocessor = dict(
    mean=[255 * x for x in (0.4595, 0.4520, 0.3900)],
    std=[255 * x for x in (0.2547, 0.2385, 0.2548)],
)
crop = dict(
    type="mmrel.MultiCrop",
    num_global=1,
    num_local=0,
    global_scale=(0.08, 1.0),
    interpolation="bilinear",
)
train_pipeline = [
    dict(type="mmrel.DecodeImage"),
    crop,
    dict(type="mmrel.DrawPatchAugmentation", patch_size=32),
    dict(type="mmrel.PackViews", patch_size=32),
]
# Short side 256, central 224, as the README of the official code says for held-out images.
central_square = [
    dict(type="ResizeEdge", scale=256, edge="short", backend="pillow", interpolation="bilinear"),
    dict(type="CenterCrop", crop_size=224),
]
# The pretext loss on held-out images without patch augmentation; all of the square is one view.
val_pipeline = [
    dict(type="mmrel.DecodeImage"),
    *central_square,
    dict(crop, global_scale=(1.0, 1.0), ratio=(1.0, 1.0), flip_prob=0.0),
    dict(type="mmrel.PackViews", patch_size=32),
]
knn_pipeline = [dict(type="mmrel.DecodeImage"), *central_square, dict(type="PackInputs")]

train = dict(data_root=data_root)
val = dict(data_root=val_root)
train_dataloader = dict(num_workers=16, dataset=dict(train, pipeline=train_pipeline))
val_dataloader = dict(num_workers=16, dataset=dict(val, pipeline=val_pipeline))
knn = dict(
    bank_dataloader=dict(num_workers=16, dataset=dict(train, pipeline=knn_pipeline)),
    val_dataloader=dict(num_workers=16, dataset=dict(val, pipeline=knn_pipeline)),
)
