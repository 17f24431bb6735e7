# RelViT's pretraining of ViT-S/4 for images of 32 pixels, a grid of 8 x 8 patches. Positions are off.
model = dict(
    type="mmrel.RelViT",
    backbone=dict(
        type="mmrel.ViT",
        arch="deit-small",
        img_size=32,
        patch_size=4,
        drop_path_rate=0.1,
        use_pos_embed=False,
    ),
    head=dict(
        relation=dict(type="mmrel.PatchRelationHead"),
        position=dict(type="mmrel.PatchPositionHead"),
    ),
)
