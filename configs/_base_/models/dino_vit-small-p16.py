# DINO with ViT-S/16; 65536 prototypes.
model = dict(
    type="mmrel.DINO",
    backbone=dict(
        type="mmrel.ViT", arch="deit-small", img_size=224, patch_size=16, drop_path_rate=0.1
    ),
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
