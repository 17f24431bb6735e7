# RelViT's joint mode: what it adds to a fine-tuning recipe, model = dict(**_base_.joint). Their grid and width follow
# from the backbone, which begins at random.
joint = dict(
    type="mmrel.RelViTClassifier",
    backbone=dict(init_cfg=None),
    pretext=dict(
        relation=dict(type="mmrel.PatchRelationHead"),
        position=dict(type="mmrel.PatchPositionHead"),
    ),
)
