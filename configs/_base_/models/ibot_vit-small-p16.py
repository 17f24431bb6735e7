# iBOT with ViT-S/16; 8192 prototypes, shared by class and patch tokens.
model = dict(
    type="mmrel.IBOT",
    backbone=dict(
        type="mmrel.ViT",
        arch="deit-small",
        img_size=224,
        patch_size=16,
        drop_path_rate=0.1,
        mask_token=True,
    ),
    neck=dict(
        type="mmrel.PrototypeProjection",
        in_channels=384,
        out_channels=8192,
        patches=True,
        norm_last_layer=False,
    ),
    head=dict(
        type="mmrel.DistillationHead",
        out_channels=8192,
        student_temperature=0.1,
        teacher_temperature=dict(start=0.04, end=0.07, warmup_epochs=30),
    ),
    patch_head=dict(
        type="mmrel.MaskedDistillationHead",
        out_channels=8192,
        student_temperature=0.1,
        teacher_temperature=dict(start=0.04, end=0.07, warmup_epochs=30),
    ),
)
