# RelViT, ViT-S/4, 100 epochs on SVHN: relations and positions of 8 x 8 patches.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Data:     python tools/convert_dataset.py svhn DOWNLOADS data/svhn
# Command:  python tools/train.py configs/relvit/relvit_vit-small-p4_1xb256-100e_svhn.py
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./relvit_vit-small-p4_1xb256-100e_cifar10.py"]

data_root = "data/svhn/train"
val_root = "data/svhn/test"
_base_.train_dataloader.dataset.data_root = data_root
_base_.val_dataloader.dataset.data_root = val_root
_base_.default_hooks.knn.bank_dataloader.dataset.data_root = data_root
_base_.default_hooks.knn.val_dataloader.dataset.data_root = val_root
data_preprocessor = dict(
    mean=[255 * x for x in (0.4378, 0.4439, 0.4729)],
    std=[255 * x for x in (0.1981, 0.2011, 0.1970)],
)
