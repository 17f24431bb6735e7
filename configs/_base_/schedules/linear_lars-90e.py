# MAE's optimisation of a linear probe: LARS at 0.1 per 256 images, no decay, 10 epochs of warm-up, cosine to 0.
# LARS leaves biases out of its layer-wise rates, as MoCo v3, whose protocol MAE takes.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="LARS", lr=0.1 * 16384 / 256, momentum=0.9, weight_decay=0.0),
    paramwise_cfg=dict(custom_keys={".bias": dict(lars_exclude=True)}),
)
param_scheduler = [
    dict(
        type="LinearLR",
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=10,
        convert_to_iter_based=True,
    ),
    dict(
        type="CosineAnnealingLR",
        T_max=80,
        by_epoch=True,
        begin=10,
        end=90,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=90, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=16384)
