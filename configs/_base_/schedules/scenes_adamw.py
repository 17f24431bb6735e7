"""AdamW for the bundled scenes: short warm-up, cosine decay to 0, evaluation at the end."""

_base_ = ["./weight_decay.py"]

train_cfg = dict(type="IterBasedTrainLoop", max_iters=200, val_interval=200)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
    constructor="mmrel.LayerDecayOptimWrapperConstructor",
    paramwise_cfg=dict(_base_.exempt, layer_decay_rate=0.75),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=20, end=200, T_max=180),
]
