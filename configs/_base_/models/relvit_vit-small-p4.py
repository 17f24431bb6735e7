# RelViT's pretraining of ViT-S/4 for images of 32 pixels, a grid of 8 x 8 patches. Positions are off.
_base_ = ["./vit_small.py"]

model = dict(
    type="mmrel.RelViT",
    backbone=dict(_base_.vit_small, img_size=32, patch_size=4, use_pos_embed=False),
    head=dict(
        relation=dict(type="mmrel.PatchRelationHead"),
        position=dict(type="mmrel.PatchPositionHead"),
    ),
)
