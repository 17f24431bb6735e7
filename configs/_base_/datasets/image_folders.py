# What every pretraining shares that reads folders of images: the loader of the crops, and `knn`, the hook for weighted
# k-NN on labelled images. A data set adds its folders and pipelines; a recipe hangs the hook in with
# default_hooks = dict(knn=_base_.knn). It also tells how healthy the patch tokens of 128 validation images are
# (max_health=0: not), and with masks=dict(root=FOLDER) how well patches find those of the same class.
train_dataloader = dict(
    batch_size=64,
    num_workers=10,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="mmrel.KeyedSampler", shuffle=True),
    dataset=dict(type="mmrel.ImageFolder"),
)
knn_dataloader = dict(
    batch_size=128,
    num_workers=10,
    collate_fn=dict(type="default_collate"),
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="mmrel.ImageFolder", with_label=True),
)
knn = dict(
    type="mmrel.KNNHook",
    bank_dataloader=knn_dataloader,
    val_dataloader=knn_dataloader,
    k=(10, 20, 100, 200),
    interval=10,
)
