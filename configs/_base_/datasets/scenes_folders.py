# The bundled scenes for the quickstart's pretrainings, as tools/make_scenes.py writes them: the crops' loader, and k-NN
# over whole images and over the patches of a few images with masks, before the first epoch and after every second one.
_base_ = ["./image_folders.py"]

data_root = "data/scenes/classification/train"
val_root = "data/scenes/classification/val"

train_dataloader = dict(
    num_workers=0,
    drop_last=True,
    dataset=dict(data_root=data_root),
)
knn_pipeline = [
    dict(type="mmrel.DecodeImage"),
    dict(type="ResizeEdge", scale=48, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=48),
    dict(type="PackInputs"),
]
labelled = dict(batch_size=125, num_workers=0)
bank = dict(data_root=data_root, pipeline=knn_pipeline)
queries = dict(data_root=val_root, pipeline=knn_pipeline)
knn = dict(
    bank_dataloader=dict(labelled, dataset=bank),
    val_dataloader=dict(labelled, dataset=queries),
    k=(20,),
    at_start=True,
    interval=2,
    # Beside the class folders, wherever data_root is; photos of one's own have no masks there and go without.
    masks=dict(
        root=f"{data_root}/../../segmentation", max_train=80, max_val=40, size=96, optional=True
    ),
)
