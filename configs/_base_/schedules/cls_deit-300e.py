# DeiT's optimisation, 300 epochs: AdamW at 5e-4 per 512 images, five epochs of warm-up from 1e-6, cosine to 1e-5, no
# clipping. DeiT also keeps an average of the weights (0.99996) but reports the accuracy of the weights themselves, so
# there is none here; mmpretrain's EMAHook with momentum=4e-5 would add it.
_base_ = ["./weight_decay.py"]

optim_wrapper = dict(
    type="AmpOptimWrapper",
    optimizer=dict(type="AdamW", lr=6.25e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    paramwise_cfg=_base_.exempt,
)
param_scheduler = [
    dict(
        type="LinearLR",
        start_factor=1e-6 / 6.25e-5,
        by_epoch=True,
        begin=0,
        end=5,
        convert_to_iter_based=True,
    ),
    dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=True, begin=5, end=300),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=300, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
