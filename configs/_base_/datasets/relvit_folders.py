# What RelViT's data sets share: one view per image, its pretext loss on held-out images (`mmrel.HeldOutLoss`), and k-NN
# of the mean patch token, since the class token has no loss of its own in pretraining.
_base_ = ["./image_folders.py"]

data_preprocessor = dict(type="mmrel.PatchAugmentingPreprocessor")
train_dataloader = dict(batch_size=256, persistent_workers=True, pin_memory=True)
val_dataloader = dict(
    **_base_.train_dataloader
    | train_dataloader
    | dict(sampler=dict(type="mmrel.KeyedSampler", shuffle=False))
)
val_evaluator = dict(type="mmrel.HeldOutLoss")
val_cfg = dict()
knn = dict(
    bank_dataloader=dict(batch_size=256),
    val_dataloader=dict(batch_size=256),
    feature="avg",
    network="student",
)
