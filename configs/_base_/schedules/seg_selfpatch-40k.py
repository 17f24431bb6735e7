"""40,000 iterations of AdamW as SelfPatch and XCiT use it: one rate for all layers, decay 0.01.

Linear decay to 0 from the first iteration on, times a warm-up of 1500 iterations from 1e-6; positions, class token and
norms are not weight-decayed. (The official run of SelfPatch's Semantic FPN decays the norms.)
"""

_base_ = ["mmseg::_base_/schedules/schedule_40k.py", "./weight_decay.py"]

optim_wrapper = dict(
    _delete_=True,
    type="AmpOptimWrapper",
    optimizer=dict(type="AdamW", lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=_base_.exempt_tokens),
    clip_grad=None,
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type="PolyLR", power=1.0, eta_min=0.0, begin=0, end=40000, by_epoch=False),
]
default_hooks = dict(
    checkpoint=dict(type="mmrel.AtomicCheckpointHook"),
    preemption=dict(type="mmrel.PreemptionHook"),
)
