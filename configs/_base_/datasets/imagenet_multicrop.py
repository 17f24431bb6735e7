# ImageNet-1k, 2 global crops of 224 pixels and 10 local ones of 96.
# Expected: data/imagenet/train/<class>/*.JPEG and data/imagenet/val/<class>/*.JPEG.
_base_ = ["./image_folders.py"]

data_root = "data/imagenet/train"
val_root = "data/imagenet/val"

data_preprocessor = dict(
    type="mmrel.ViewPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
)
# A recipe changes entries of this list by their positions: _base_.train_dataloader.dataset.pipeline[1] is the crop.
train_pipeline = [
    dict(type="mmrel.DecodeImage"),
    dict(type="mmrel.MultiCrop", global_scale=(0.4, 1.0), local_scale=(0.05, 0.4), num_local=10),
    dict(type="mmrel.DrawColorAugmentation"),
    dict(type="mmrel.PackViews"),
]
train_dataloader = dict(
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)

# k-NN protocol of DINO and iBOT: short side 256, central 224, class token of the teacher, T = 0.07.
test_pipeline = [
    dict(type="mmrel.DecodeImage"),
    dict(type="ResizeEdge", scale=256, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]
knn = dict(
    bank_dataloader=dict(dataset=dict(data_root=data_root, pipeline=test_pipeline)),
    val_dataloader=dict(dataset=dict(data_root=val_root, pipeline=test_pipeline)),
)
