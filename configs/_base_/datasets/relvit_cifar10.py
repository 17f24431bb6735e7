# CIFAR-10 in its native size for RelViT's pretraining; `knn` is the hook for weighted k-NN of the mean patch token (the
# class token has no loss of its own in pretraining).
# Expected under data/cifar10: train/<class>/*.png and test/<class>/*.png, as tools/convert_dataset.py writes them.
data_root = "data/cifar10"

data_preprocessor = dict(
    type="mmrel.PatchAugmentingPreprocessor",
    mean=[255 * x for x in (0.4914, 0.4822, 0.4465)],
    std=[255 * x for x in (0.2470, 0.2435, 0.2616)],
)
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="mmrel.KeyedSampler", shuffle=True),
    dataset=dict(
        type="mmrel.ImageFolder",
        data_root=data_root + "/train",
        pipeline=[
            dict(type="mmrel.DecodeImage"),
            dict(type="mmrel.PaddedCrop", size=32, padding=4),
            dict(type="mmrel.DrawPatchAugmentation", patch_size=4),
            dict(type="mmrel.PackViews", patch_size=4),
        ],
    ),
)
# The pretext loss on held-out images, without shifts, flips and patch augmentation.
val_dataloader = dict(
    train_dataloader,
    sampler=dict(type="mmrel.KeyedSampler", shuffle=False),
    dataset=dict(
        type="mmrel.ImageFolder",
        data_root=data_root + "/test",
        pipeline=[
            dict(type="mmrel.DecodeImage"),
            dict(type="mmrel.PaddedCrop", size=32, padding=0, flip_prob=0.0),
            dict(type="mmrel.PackViews", patch_size=4),
        ],
    ),
)
val_evaluator = dict(type="mmrel.HeldOutLoss")
val_cfg = dict()
knn_dataloader = dict(
    batch_size=256,
    num_workers=8,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmrel.ImageFolder",
        data_root=data_root + "/train",
        with_label=True,
        pipeline=[dict(type="mmrel.DecodeImage"), dict(type="PackInputs")],
    ),
)
knn = dict(
    type="mmrel.KNNHook",
    bank_dataloader=knn_dataloader,
    val_dataloader=dict(
        knn_dataloader, dataset=dict(knn_dataloader["dataset"], data_root=data_root + "/test")
    ),
    k=(10, 20, 100, 200),
    feature="avg",
    network="student",
    interval=10,
)
