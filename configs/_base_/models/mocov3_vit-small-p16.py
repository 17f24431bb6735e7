# MoCo v3 with its ViT-S/16, which has 12 heads of 32 channels.
model = dict(
    type="mmrel.MoCoV3",
    backbone=dict(
        type="mmrel.MoCoV3ViT",
        arch=dict(embed_dims=384, num_layers=12, num_heads=12, feedforward_channels=1536),
        img_size=224,
        patch_size=16,
        recompute="pointwise",
        bf16_residual=True,
    ),
    neck=dict(
        type="mmrel.ContrastiveProjection",
        in_channels=384,
        hidden_channels=4096,
        out_channels=256,
    ),
    head=dict(type="mmrel.ContrastiveHead", temperature=0.2),
)
