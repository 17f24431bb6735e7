# DINO's optimisation of a linear probe: SGD at 0.001 per 256 images, no decay, cosine to 0 epoch by epoch, no warm-up.
# In float32: see mmrel.LinearProbeClassifier.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.001 * 1024 / 256, momentum=0.9, weight_decay=0.0),
)
param_scheduler = [dict(type="CosineAnnealingLR", T_max=100, by_epoch=True, begin=0, end=100)]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=100, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=1024)
