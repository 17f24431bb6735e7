# RelViT, ViT-S/32, 100 epochs on Flower-102 (1020 images): relations and positions of 7 x 7 patches.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README, but ImageNet's statistics for
#           normalisation, since it has none for this set.
# Data:     python tools/convert_dataset.py flowers102 DOWNLOADS data/flowers102
# Command:  python tools/train.py configs/relvit/relvit_vit-small-p32_1xb256-100e_flowers102.py
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./relvit_vit-small-p32_1xb256-100e_in100.py"]

data_root = "data/flowers102/train"
val_root = "data/flowers102/val"
_base_.train_dataloader.dataset.data_root = data_root
_base_.val_dataloader.dataset.data_root = val_root
_base_.default_hooks.knn.bank_dataloader.dataset.data_root = data_root
_base_.default_hooks.knn.val_dataloader.dataset.data_root = val_root
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
