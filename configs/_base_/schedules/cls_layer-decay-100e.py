# The optimisation of BEiT, which iBOT and MAE share: AdamW with a rate that decays with depth, linear warm-up, cosine
# by iteration to 1e-6. The lowest rate, too, is multiplied by a layer's factor, as in their codes.
_base_ = ["./weight_decay.py"]

rate, lowest = 4e-3, 1e-6
optim_wrapper = dict(
    type="AmpOptimWrapper",
    constructor="mmrel.LayerDecayOptimWrapperConstructor",
    optimizer=dict(type="AdamW", lr=rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    paramwise_cfg=dict(_base_.exempt, layer_decay_rate=0.65),
)
param_scheduler = [
    dict(
        type="LinearLR",
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=5,
        convert_to_iter_based=True,
    ),
    dict(
        type="CosineAnnealingLR",
        eta_min_ratio=lowest / rate,
        by_epoch=True,
        begin=5,
        end=100,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=1024)
