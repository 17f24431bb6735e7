"""160,000 iterations of AdamW: linear decay to 0 from the first on, times a warm-up of 1500 from 1e-6."""

_base_ = ["mmseg::_base_/schedules/schedule_160k.py", "./weight_decay.py"]

optim_wrapper = dict(
    _delete_=True,
    type="AmpOptimWrapper",
    optimizer=dict(type="AdamW", lr=3e-5, betas=(0.9, 0.999), weight_decay=0.05),
    constructor="mmrel.LayerDecayOptimWrapperConstructor",
    paramwise_cfg=dict(_base_.exempt, layer_decay_rate=0.9),
    clip_grad=None,
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type="PolyLR", power=1.0, eta_min=0.0, begin=0, end=160000, by_epoch=False),
]
default_hooks = dict(
    checkpoint=dict(type="mmrel.AtomicCheckpointHook"),
    preemption=dict(type="mmrel.PreemptionHook"),
)
