# RelViT on CIFAR-10 with one of its tasks: positions only.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Data:     python tools/convert_dataset.py cifar10 DOWNLOADS data/cifar10
# Command:  python tools/train.py configs/relvit/relvit_ablation-abs_vit-small-p4_1xb256-100e_cifar10.py
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./relvit_vit-small-p4_1xb256-100e_cifar10.py"]

model = dict(head=dict(relation=None))
