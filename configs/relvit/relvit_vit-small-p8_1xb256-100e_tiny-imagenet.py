# RelViT, ViT-S/8, 100 epochs on Tiny-ImageNet: relations and positions of 8 x 8 patches.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Data:     python tools/convert_dataset.py tiny-imagenet DOWNLOADS data/tiny-imagenet
# Command:  python tools/train.py configs/relvit/relvit_vit-small-p8_1xb256-100e_tiny-imagenet.py
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./relvit_vit-small-p4_1xb256-100e_cifar10.py"]

data_root = "data/tiny-imagenet/train"
val_root = "data/tiny-imagenet/val"
_base_.train_dataloader.dataset.data_root = data_root
_base_.val_dataloader.dataset.data_root = val_root
_base_.default_hooks.knn.bank_dataloader.dataset.data_root = data_root
_base_.default_hooks.knn.val_dataloader.dataset.data_root = val_root
data_preprocessor = dict(
    mean=[255 * x for x in (0.4802, 0.4481, 0.3975)],
    std=[255 * x for x in (0.2770, 0.2691, 0.2821)],
)
model = dict(backbone=dict(img_size=64, patch_size=8))
_base_.train_dataloader.dataset.pipeline[1].size = 64
_base_.train_dataloader.dataset.pipeline[2].patch_size = 8
_base_.train_dataloader.dataset.pipeline[3].patch_size = 8
_base_.val_dataloader.dataset.pipeline[1].size = 64
_base_.val_dataloader.dataset.pipeline[2].patch_size = 8
