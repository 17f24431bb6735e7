# DINO with ViT-S/16; 65536 prototypes.
_base_ = ["./vit_small.py"]

model = dict(
    type="mmrel.DINO",
    backbone=_base_.vit_small,
    neck=dict(
        type="mmrel.PrototypeProjection",
        in_channels=384,
        out_channels=65536,
        norm_last_layer=True,
    ),
    head=dict(
        type="mmrel.DistillationHead",
        out_channels=65536,
        student_temperature=0.1,
        teacher_temperature=0.04,
    ),
)
