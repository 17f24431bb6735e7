# RelViT, ViT-S/4, 100 epochs on SVHN: relations and positions of 8 x 8 patches.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Data:     python tools/convert_dataset.py svhn DOWNLOADS data/svhn
# Command:  python tools/train.py configs/relvit/relvit_vit-small-p4_1xb256-100e_svhn.py
# Hardware: 1 GPU, 256 images.
# Expected: the paper's tables could not be consulted; not yet measured by this project.
_base_ = ["./relvit_vit-small-p4_1xb256-100e_cifar10.py"]

data_root = "data/svhn"
data_preprocessor = dict(
    mean=[255 * x for x in (0.4378, 0.4439, 0.4729)],
    std=[255 * x for x in (0.1981, 0.2011, 0.1970)],
)
train_dataloader = dict(dataset=dict(data_root=data_root + "/train"))
val_dataloader = dict(dataset=dict(data_root=data_root + "/test"))
default_hooks = dict(
    knn=dict(
        bank_dataloader=dict(dataset=dict(data_root=data_root + "/train")),
        val_dataloader=dict(dataset=dict(data_root=data_root + "/test")),
    ),
)
