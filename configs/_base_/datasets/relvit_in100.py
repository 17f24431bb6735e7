# ImageNet-100 at 224 pixels for RelViT's pretraining; `knn` is the hook for weighted k-NN of the mean patch token.
# Expected under data/imagenet100: train/<class>/*.JPEG and val/<class>/*.JPEG, as tools/convert_dataset.py links them.
data_root = "data/imagenet100"

data_preprocessor = dict(
    type="mmrel.PatchAugmentingPreprocessor",
    mean=[255 * x for x in (0.4595, 0.4520, 0.3900)],
    std=[255 * x for x in (0.2547, 0.2385, 0.2548)],
)
bilinear = dict(backend="pillow", interpolation="bilinear")
train_dataloader = dict(
    batch_size=256,
    num_workers=16,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="mmrel.KeyedSampler", shuffle=True),
    dataset=dict(
        type="mmrel.ImageFolder",
        data_root=data_root + "/train",
        pipeline=[
            dict(type="mmrel.DecodeImage"),
            dict(
                type="mmrel.MultiCrop",
                num_global=1,
                num_local=0,
                global_scale=(0.08, 1.0),
                interpolation="bilinear",
            ),
            dict(type="mmrel.DrawPatchAugmentation", patch_size=32),
            dict(type="mmrel.PackViews", patch_size=32),
        ],
    ),
)
# The pretext loss on held-out images without patch augmentation: short side 256, central 224 (README of the official
# code), all of which is then one view.
whole = [
    dict(type="ResizeEdge", scale=256, edge="short", **bilinear),
    dict(type="CenterCrop", crop_size=224),
    dict(
        type="mmrel.MultiCrop",
        num_global=1,
        num_local=0,
        global_scale=(1.0, 1.0),
        ratio=(1.0, 1.0),
        flip_prob=0.0,
        interpolation="bilinear",
    ),
]
val_dataloader = dict(
    train_dataloader,
    sampler=dict(type="mmrel.KeyedSampler", shuffle=False),
    dataset=dict(
        type="mmrel.ImageFolder",
        data_root=data_root + "/val",
        pipeline=[
            dict(type="mmrel.DecodeImage"),
            *whole,
            dict(type="mmrel.PackViews", patch_size=32),
        ],
    ),
)
val_evaluator = dict(type="mmrel.HeldOutLoss")
val_cfg = dict()
knn_dataloader = dict(
    batch_size=256,
    num_workers=16,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmrel.ImageFolder",
        data_root=data_root + "/train",
        with_label=True,
        pipeline=[
            dict(type="mmrel.DecodeImage"),
            dict(type="ResizeEdge", scale=256, edge="short", **bilinear),
            dict(type="CenterCrop", crop_size=224),
            dict(type="PackInputs"),
        ],
    ),
)
knn = dict(
    type="mmrel.KNNHook",
    bank_dataloader=knn_dataloader,
    val_dataloader=dict(
        knn_dataloader, dataset=dict(knn_dataloader["dataset"], data_root=data_root + "/val")
    ),
    k=(10, 20, 100, 200),
    feature="avg",
    network="student",
    interval=10,
)
