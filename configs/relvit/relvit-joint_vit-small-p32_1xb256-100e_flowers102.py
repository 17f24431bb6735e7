# RelViT's joint mode ("downstream-only"), ViT-S/32 on Flower-102: classification and pretext tasks at once.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README, but ImageNet's statistics for
#           normalisation, since it has none for this set.
# Command:  python tools/train.py configs/relvit/relvit-joint_vit-small-p32_1xb256-100e_flowers102.py
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = [
    "./benchmarks/vit-small-p32_1xb256-100e_flowers102.py",
    "../_base_/models/relvit_joint.py",
]

model = _base_.joint
randomness = dict(seed=2022)
