# SERE on iBOT, a ViT of 4 blocks with 8-pixel patches, on the bundled scenes: what `make quickstart` runs.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184;
#           shrunk: crops of 48 and 24 pixels, 4 local ones, 512 prototypes, mild colours, and a teacher that
#           follows much faster (0.95), since there are only some 300 steps.
# Command:  python tools/train.py configs/quickstart/ibot-sere_vit-tiny-p8_scenes.py
#           after python tools/make_scenes.py data/scenes
# Hardware: 2 CPU cores, or one GPU.
# Expected: see the quickstart's report; there is no published number.
_base_ = [
    "../_base_/models/vit_scenes.py",
    "../_base_/datasets/scenes_folders.py",
    "../_base_/schedules/adamw_coslr.py",
    "../_base_/default_runtime.py",
]

embed_dims = 128
prototypes = 512

data_preprocessor = dict(
    type="mmrel.ViewPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
)
distillation = dict(
    out_channels=prototypes,
    student_temperature=0.1,
    teacher_temperature=0.06,
)
model = dict(
    type="mmrel.SERE",
    base=dict(
        type="mmrel.IBOT",
        backbone=dict(type="mmrel.ViT", **_base_.vit_scenes, img_size=48, mask_token=True),
        neck=dict(
            type="mmrel.PrototypeProjection",
            in_channels=embed_dims,
            out_channels=prototypes,
            patches=True,
            hidden_channels=256,
            bottleneck_channels=64,
        ),
        head=dict(type="mmrel.DistillationHead", **distillation),
        patch_head=dict(type="mmrel.MaskedDistillationHead", **distillation),
    ),
    alpha=0.2,
    beta=0.5,
    overlap_side=7,
    local_overlap_side=4,
    norm_cfg=dict(type="BN"),
)

# Crops of 48 pixels from images of 96: these ranges of area keep the scale of the patterns, about one to one, at
# which k-NN, detection and segmentation see them.
train_pipeline = [
    dict(type="mmrel.DecodeImage"),
    dict(
        type="mmrel.MultiCrop",
        global_size=48,
        global_scale=(0.2, 0.6),
        local_size=24,
        local_scale=(0.05, 0.2),
        num_local=4,
        mode="fast",
    ),
    dict(
        type="mmrel.DrawColorAugmentation",
        jitter=(0.4, 0.4, 0.2, 0.05),
        grayscale_prob=0.0,
        blur_prob=0.0,
        solarize_prob=0.0,
    ),
    dict(type="mmrel.BlockMask", patch_size=8, ratios=(0.4,), spreads=(0.2,)),
    dict(type="mmrel.PackViews", patch_size=8),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(
    optimizer=dict(lr=2e-3, fused=True),
    paramwise_cfg=dict(decay_rule="sere"),
    precision="fp32",
)
_base_.param_scheduler[0].warmup = 1
train_cfg = dict(max_epochs=10)
auto_scale_lr = dict(base_batch_size=64)

default_hooks = dict(
    runtime_info=dict(interval=10),
    logger=dict(interval=10),
    checkpoint=dict(interval=1, max_keep_ckpts=1),
    teacher_update=dict(momentum=0.95),
    knn=_base_.knn,
)
