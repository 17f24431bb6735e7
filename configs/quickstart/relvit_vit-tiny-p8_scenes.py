# RelViT, a ViT of 4 blocks with 8-pixel patches, on the bundled scenes: what `make quickstart METHOD=relvit` runs.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; shrunk: crops of 64 pixels, a grid of 8 x 8 patches, and mild colours that are jittered
#           before normalisation, since there are only some 1200 steps.
# Command:  python tools/train.py configs/quickstart/relvit_vit-tiny-p8_scenes.py
#           after python tools/make_scenes.py data/scenes
# Hardware: 2 CPU cores, or one GPU.
# Expected: see the quickstart's report; there is no published number.
_base_ = [
    "../_base_/models/vit_scenes.py",
    "../_base_/schedules/relvit_adamw.py",
    "../_base_/runtime.py",
]

data_root = "data/scenes"
embed_dims, patch_size, side = 128, 8, 8

data_preprocessor = dict(
    type="mmrel.PatchAugmentingPreprocessor",
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    jitter_space="pixel",
)
model = dict(
    type="mmrel.RelViT",
    backbone=dict(type="mmrel.ViT", **_base_.vit_scenes, img_size=64, use_pos_embed=False),
    head=dict(
        relation=dict(type="mmrel.PatchRelationHead", in_channels=embed_dims, side=side),
        position=dict(type="mmrel.PatchPositionHead", in_channels=embed_dims, side=side),
    ),
)
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    drop_last=True,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="mmrel.KeyedSampler", shuffle=True),
    dataset=dict(
        type="mmrel.ImageFolder",
        data_root=data_root + "/classification/train",
        pipeline=[
            dict(type="mmrel.DecodeImage"),
            dict(
                type="mmrel.MultiCrop",
                num_global=1,
                num_local=0,
                global_size=64,
                global_scale=(0.4, 1.0),
                interpolation="bilinear",
                mode="fast",
            ),
            dict(
                type="mmrel.DrawPatchAugmentation",
                patch_size=patch_size,
                jitter=(0.4, 0.4, 0.2, 0.05),
                grayscale_prob=0.0,
            ),
            dict(type="mmrel.PackViews", patch_size=patch_size),
        ],
    ),
)
# The pretext loss on held-out images, whole and without patch augmentation.
val_dataloader = dict(
    train_dataloader,
    batch_size=125,
    drop_last=False,
    sampler=dict(type="mmrel.KeyedSampler", shuffle=False),
    dataset=dict(
        type="mmrel.ImageFolder",
        data_root=data_root + "/classification/val",
        pipeline=[
            dict(type="mmrel.DecodeImage"),
            dict(
                type="mmrel.MultiCrop",
                num_global=1,
                num_local=0,
                global_size=64,
                global_scale=(1.0, 1.0),
                ratio=(1.0, 1.0),
                flip_prob=0.0,
                interpolation="bilinear",
                mode="fast",
            ),
            dict(type="mmrel.PackViews", patch_size=patch_size),
        ],
    ),
)
val_evaluator = dict(type="mmrel.HeldOutLoss")
val_cfg = dict()
train_cfg = dict(max_epochs=20, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=32)

# k-NN of the mean patch token over the whole images, before the first epoch and after every second.
knn_dataloader = dict(
    batch_size=125,
    num_workers=0,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmrel.ImageFolder",
        data_root=data_root + "/classification/train",
        with_label=True,
        pipeline=[
            dict(type="mmrel.DecodeImage"),
            dict(type="ResizeEdge", scale=64, backend="pillow", interpolation="bilinear"),
            dict(type="PackInputs"),
        ],
    ),
)
default_hooks = dict(
    runtime_info=dict(interval=10),
    logger=dict(interval=10),
    checkpoint=dict(interval=1, max_keep_ckpts=1),
    knn=dict(
        type="mmrel.KNNHook",
        bank_dataloader=knn_dataloader,
        val_dataloader=dict(
            knn_dataloader,
            dataset=dict(knn_dataloader["dataset"], data_root=data_root + "/classification/val"),
        ),
        k=(20,),
        feature="avg",
        network="student",
        interval=2,
        at_start=True,
    ),
)
