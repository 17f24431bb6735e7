"""100 epochs of AdamW as SERE is fine-tuned on ImageNet-S: 5e-4 for 256 photos, layer decay 0.5, cosine to 1e-6.

The warm-up takes 5 epochs. The rate ends at 1/500 of each layer's own rate, so at 1e-6 for the head: with a decay of
0.5, an absolute 1e-6 would be above the rate at which the first layers start.
"""

_base_ = "./weight_decay.py"

optim_wrapper = dict(
    type="AmpOptimWrapper",
    optimizer=dict(type="AdamW", lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor="mmrel.LayerDecayOptimWrapperConstructor",
    paramwise_cfg=dict(_base_.exempt, layer_decay_rate=0.5),
    clip_grad=None,
)
param_scheduler = [
    dict(
        type="LinearLR",
        start_factor=1e-6,
        by_epoch=True,
        begin=0,
        end=5,
        convert_to_iter_based=True,
    ),
    dict(
        type="CosineAnnealingLR",
        eta_min_ratio=1e-6 / 5e-4,
        by_epoch=True,
        begin=5,
        end=100,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=100, val_interval=20)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=10),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="mmrel.AtomicCheckpointHook", interval=10, max_keep_ckpts=1),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
    preemption=dict(type="mmrel.PreemptionHook"),
)
auto_scale_lr = dict(enable=False, base_batch_size=256)
