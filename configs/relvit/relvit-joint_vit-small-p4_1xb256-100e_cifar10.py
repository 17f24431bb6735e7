# RelViT's joint mode ("downstream-only"), ViT-S/4 on CIFAR-10: classification and pretext tasks at once.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Command:  python tools/train.py configs/relvit/relvit-joint_vit-small-p4_1xb256-100e_cifar10.py
# Hardware: 1 GPU, 256 images.
# Expected: the paper's tables could not be consulted; not yet measured by this project.
_base_ = ["./benchmarks/vit-small-p4_1xb256-100e_cifar10.py"]

model = dict(
    type="mmrel.RelViTClassifier",
    backbone=dict(init_cfg=None),
    pretext=dict(
        relation=dict(type="mmrel.PatchRelationHead", in_channels=384, side=8),
        position=dict(type="mmrel.PatchPositionHead", in_channels=384, side=8),
    ),
)
randomness = dict(seed=2022)
