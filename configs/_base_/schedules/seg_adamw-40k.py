"""The optimisation of the 160k schedule in 40,000 iterations."""

_base_ = "seg_adamw-160k.py"

train_cfg = dict(max_iters=40000, val_interval=4000)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type="PolyLR", power=1.0, eta_min=0.0, begin=0, end=40000, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=4000))
