"""The optimisation of the 40k schedule over 160,000 iterations."""

_base_ = "seg_selfpatch-40k.py"

train_cfg = dict(max_iters=160000, val_interval=16000)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type="PolyLR", power=1.0, eta_min=0.0, begin=0, end=160000, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=16000))
