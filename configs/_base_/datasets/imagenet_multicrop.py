# ImageNet-1k, 2 global crops of 224 pixels and 10 local ones of 96; `knn` is the hook for weighted k-NN.
# Expected under data/imagenet: train/<class>/*.JPEG and val/<class>/*.JPEG.
data_root = "data/imagenet"

data_preprocessor = dict(
    type="mmrel.ViewPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
)
train_dataloader = dict(
    batch_size=64,
    num_workers=10,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="mmrel.KeyedSampler", shuffle=True),
    dataset=dict(
        type="mmrel.ImageFolder",
        data_root=data_root + "/train",
        pipeline=[
            dict(type="mmrel.DecodeImage"),
            dict(
                type="mmrel.MultiCrop",
                global_scale=(0.4, 1.0),
                local_scale=(0.05, 0.4),
                num_local=10,
            ),
            dict(type="mmrel.DrawColorAugmentation"),
            dict(type="mmrel.PackViews"),
        ],
    ),
)

# k-NN protocol of DINO and iBOT: short side 256, central 224, class token of the teacher, T = 0.07.
test_pipeline = [
    dict(type="mmrel.DecodeImage"),
    dict(type="ResizeEdge", scale=256, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]
knn_dataloader = dict(
    batch_size=128,
    num_workers=10,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmrel.ImageFolder",
        data_root=data_root + "/train",
        with_label=True,
        pipeline=test_pipeline,
    ),
)
knn = dict(
    type="mmrel.KNNHook",
    bank_dataloader=knn_dataloader,
    val_dataloader=dict(
        knn_dataloader,
        dataset=dict(
            type="mmrel.ImageFolder",
            data_root=data_root + "/val",
            with_label=True,
            pipeline=test_pipeline,
        ),
    ),
    k=(10, 20, 100, 200),
    interval=10,
)
