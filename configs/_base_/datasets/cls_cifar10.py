# CIFAR-10 in its native size for classification: a shifted crop and a flip, nothing else.
# Expected under data/cifar10: train/<class>/*.png and test/<class>/*.png, as tools/convert_dataset.py writes them.
data_root = "data/cifar10"

data_preprocessor = dict(
    num_classes=10,
    mean=[255 * x for x in (0.4914, 0.4822, 0.4465)],
    std=[255 * x for x in (0.2470, 0.2435, 0.2616)],
    to_rgb=True,
)
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="mmrel.ImageFolder",
        data_root=data_root + "/train",
        with_label=True,
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="RandomCrop", crop_size=32, padding=4),
            dict(type="RandomFlip", prob=0.5, direction="horizontal"),
            dict(type="PackInputs"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=8,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmrel.ImageFolder",
        data_root=data_root + "/test",
        with_label=True,
        pipeline=[dict(type="LoadImageFromFile"), dict(type="PackInputs")],
    ),
)
val_evaluator = dict(type="Accuracy", topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
