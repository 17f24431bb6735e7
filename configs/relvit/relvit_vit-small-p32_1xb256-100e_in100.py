# RelViT, ViT-S/32, 100 epochs on ImageNet-100: relations and positions of 7 x 7 patches.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Data:     python tools/convert_dataset.py imagenet100 data/imagenet data/imagenet100 --classes LIST.txt
# Command:  python tools/train.py configs/relvit/relvit_vit-small-p32_1xb256-100e_in100.py
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = [
    "../_base_/models/relvit_vit-small-p4.py",
    "../_base_/datasets/relvit_in100.py",
    "../_base_/schedules/relvit_adamw.py",
    "../_base_/runtime.py",
]

model = dict(backbone=dict(img_size=224, patch_size=32))
default_hooks = dict(knn=_base_.knn, checkpoint=dict(save_best="held_out/total", rule="less"))
randomness = dict(seed=35771)
