# SelfPatch with ViT-S/16 without class token and final norm; 65536 prototypes for images and 4096 for patches.
_base_ = ["./vit_small.py"]

temperatures = dict(student_temperature=0.1, teacher_temperature=0.04)
model = dict(
    type="mmrel.SelfPatch",
    backbone=dict(_base_.vit_small, with_cls_token=False, final_norm=False),
    neck=dict(
        type="mmrel.NeighbourAggregation",
        in_channels=384,
        num_heads=6,
        k=4,
        out_channels=65536,
        patch_out_channels=4096,
        norm_last_layer=True,
    ),
    head=dict(type="mmrel.DistillationHead", out_channels=65536, **temperatures),
    patch_head=dict(
        type="mmrel.PatchDistillationHead", out_channels=4096, loss_weight=0.1, **temperatures
    ),
)
