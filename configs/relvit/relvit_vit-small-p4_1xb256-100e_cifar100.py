# RelViT, ViT-S/4, 100 epochs on CIFAR-100: relations and positions of 8 x 8 patches.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Data:     python tools/convert_dataset.py cifar100 DOWNLOADS data/cifar100
# Command:  python tools/train.py configs/relvit/relvit_vit-small-p4_1xb256-100e_cifar100.py
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./relvit_vit-small-p4_1xb256-100e_cifar10.py"]

data_root = "data/cifar100/train"
val_root = "data/cifar100/test"
_base_.train_dataloader.dataset.data_root = data_root
_base_.val_dataloader.dataset.data_root = val_root
_base_.default_hooks.knn.bank_dataloader.dataset.data_root = data_root
_base_.default_hooks.knn.val_dataloader.dataset.data_root = val_root
data_preprocessor = dict(
    mean=[255 * x for x in (0.5071, 0.4866, 0.4409)],
    std=[255 * x for x in (0.2673, 0.2564, 0.2761)],
)
