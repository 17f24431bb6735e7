# iBOT with ViT-S/16; 8192 prototypes, shared by class and patch tokens.
_base_ = ["./vit_small.py"]

distillation = dict(
    out_channels=8192,
    student_temperature=0.1,
    teacher_temperature=dict(start=0.04, end=0.07, warmup_epochs=30),
)
model = dict(
    type="mmrel.IBOT",
    backbone=dict(_base_.vit_small, mask_token=True),
    neck=dict(
        type="mmrel.PrototypeProjection",
        in_channels=384,
        out_channels=8192,
        patches=True,
        norm_last_layer=False,
    ),
    head=dict(type="mmrel.DistillationHead", **distillation),
    patch_head=dict(type="mmrel.MaskedDistillationHead", **distillation),
)
