# SiT with ViT-S/16.
model = dict(
    type="mmrel.SiT",
    backbone=dict(
        type="mmrel.ViT", arch="deit-small", img_size=224, patch_size=16, drop_path_rate=0.1
    ),
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
