# RelViT, ViT-B/4, 100 epochs on CIFAR-10.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Data:     python tools/convert_dataset.py cifar10 DOWNLOADS data/cifar10
# Command:  python tools/train.py configs/relvit/relvit_vit-base-p4_1xb256-100e_cifar10.py
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./relvit_vit-small-p4_1xb256-100e_cifar10.py"]

model = dict(backbone=dict(arch="deit-base"))
