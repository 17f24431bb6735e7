# Fine-tuning as MAE's code does by default: no final norm in the backbone, the mean patch token through a new layer
# norm, a linear head that begins near 0.
_base_ = ["./cls_vit-small-p16.py"]

model = dict(
    backbone=dict(final_norm=False),
    neck=dict(feature="avg", norm_channels=384),
    head=dict(init_cfg=dict(std=2e-5)),
)
