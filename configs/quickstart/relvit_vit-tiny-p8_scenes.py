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
    "../_base_/datasets/scenes_folders.py",
    "../_base_/schedules/relvit_adamw.py",
    "../_base_/runtime.py",
]

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
        relation=dict(type="mmrel.PatchRelationHead"),
        position=dict(type="mmrel.PatchPositionHead"),
    ),
)
crop = dict(
    type="mmrel.MultiCrop",
    num_global=1,
    num_local=0,
    global_size=64,
    global_scale=(0.4, 1.0),
    interpolation="bilinear",
    mode="fast",
)
colors = dict(
    type="mmrel.DrawPatchAugmentation",
    patch_size=8,
    jitter=(0.4, 0.4, 0.2, 0.05),
    grayscale_prob=0.0,
)
# The pretext loss on held-out images: whole, and without patch augmentation.
whole = dict(crop, global_scale=(1.0, 1.0), ratio=(1.0, 1.0), flip_prob=0.0)
decode, pack = dict(type="mmrel.DecodeImage"), dict(type="mmrel.PackViews", patch_size=8)

train_dataloader = dict(batch_size=32, dataset=dict(pipeline=[decode, crop, colors, pack]))
val_dataloader = dict(
    _base_.train_dataloader,
    batch_size=125,
    drop_last=False,
    sampler=dict(type="mmrel.KeyedSampler", shuffle=False),
    dataset=dict(
        type="mmrel.ImageFolder",
        data_root=_base_.val_root,
        pipeline=[decode, whole, pack],
    ),
)
val_evaluator = dict(type="mmrel.HeldOutLoss")
val_cfg = dict()
train_cfg = dict(max_epochs=20, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=32)

# k-NN of the mean patch token.
_base_.knn.update(feature="avg", network="student")
_base_.knn.bank_dataloader.dataset.pipeline[1].update(scale=64, interpolation="bilinear")
_base_.knn.val_dataloader.dataset.pipeline[1].update(scale=64, interpolation="bilinear")
_base_.knn.bank_dataloader.dataset.pipeline[2].crop_size = 64
_base_.knn.val_dataloader.dataset.pipeline[2].crop_size = 64
default_hooks = dict(
    runtime_info=dict(interval=10),
    logger=dict(interval=10),
    checkpoint=dict(interval=1, max_keep_ckpts=1),
    knn=_base_.knn,
)
