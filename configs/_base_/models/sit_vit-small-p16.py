# SiT with ViT-S/16.
_base_ = ["./vit_small.py"]

model = dict(
    type="mmrel.SiT",
    backbone=_base_.vit_small,
    neck=dict(
        type="mmrel.ContrastiveProjection",
        in_channels=384,
        hidden_channels=4096,
        out_channels=256,
        activations=("ReLU", "GELU"),
        predictor=False,
        bias=True,
        joint_views=True,
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
    decoder=dict(type="mmrel.PixelDecoder", in_channels=384, patch_size=16),
    head=dict(type="mmrel.ContrastiveHead", temperature=0.2),
    alpha=1.0,
)
