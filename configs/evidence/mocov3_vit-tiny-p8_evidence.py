# MoCo v3, a ViT of 4 blocks with 8-pixel patches, on the bundled scenes: an arm of docs/evidence.md.
# Paper:    An Empirical Study of Training Self-Supervised Vision Transformers, ICCV 2021, arXiv 2104.02057; shrunk.
# Command:  python benchmarks/evidence.py run mocov3
# Hardware: one CPU core.
# Expected: the tables of docs/evidence.md; there is no published number.
_base_ = ["../_base_/evidence.py"]

model = dict(
    type="mmrel.MoCoV3",
    backbone=dict(type="mmrel.ViT", **_base_.vit_scenes, img_size=48),
    neck=dict(
        type="mmrel.ContrastiveProjection",
        in_channels=_base_.embed_dims,
        hidden_channels=512,
        out_channels=64,
        norm_cfg=dict(type="BN1d"),
    ),
    head=dict(type="mmrel.ContrastiveHead", temperature=0.2),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
_base_.param_scheduler[1].end = 0.1
default_hooks = dict(last_layer_freeze=dict(epochs=0))  # there are no prototypes
