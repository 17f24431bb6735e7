# SiT, a ViT of 4 blocks with 8-pixel patches, on the bundled scenes: an arm of docs/evidence.md.
# Paper:    SiT: Self-supervised vIsion Transformer, arXiv 2104.03602, version 3; shrunk.
# Command:  python benchmarks/evidence.py run sit
# Hardware: one CPU core.
# Expected: the tables of docs/evidence.md; there is no published number.
_base_ = ["../_base_/evidence.py"]

data_preprocessor = dict(type="mmrel.CorruptingViewPreprocessor")
model = dict(
    type="mmrel.SiT",
    backbone=dict(type="mmrel.ViT", **_base_.vit_scenes, img_size=48),
    neck=dict(
        type="mmrel.ContrastiveProjection",
        in_channels=_base_.embed_dims,
        hidden_channels=512,
        out_channels=64,
        activations=("ReLU", "GELU"),
        predictor=False,
        bias=True,
        joint_views=True,
        norm_cfg=dict(type="BN1d"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
    decoder=dict(type="mmrel.PixelDecoder", in_channels=_base_.embed_dims, patch_size=8),
    head=dict(type="mmrel.ContrastiveHead", temperature=0.2),
    alpha=1.0,
)
spots = dict(type="mmrel.DrawCorruption", align=1)
train_dataloader = dict(
    dataset=dict(pipeline=[_base_.decode, _base_.crops, _base_.colors, spots, _base_.pack])
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
_base_.param_scheduler[1].end = 0.1
default_hooks = dict(last_layer_freeze=dict(epochs=0))  # there are no prototypes
