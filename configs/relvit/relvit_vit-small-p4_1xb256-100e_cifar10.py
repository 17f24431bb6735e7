# RelViT, ViT-S/4, 100 epochs on CIFAR-10: relations and positions of 8 x 8 patches.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Data:     python tools/convert_dataset.py cifar10 DOWNLOADS data/cifar10
# Command:  python tools/train.py configs/relvit/relvit_vit-small-p4_1xb256-100e_cifar10.py
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = [
    "../_base_/models/relvit_vit-small-p4.py",
    "../_base_/datasets/relvit_cifar10.py",
    "../_base_/schedules/relvit_adamw.py",
    "../_base_/runtime.py",
]

default_hooks = dict(knn=_base_.knn, checkpoint=dict(save_best="held_out/total", rule="less"))
randomness = dict(seed=35771)
