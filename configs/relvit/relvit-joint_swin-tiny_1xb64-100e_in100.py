# RelViT's joint mode ("downstream-only"), Swin-T on ImageNet-100: classification and pretext tasks at once.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Command:  python tools/train.py configs/relvit/relvit-joint_swin-tiny_1xb64-100e_in100.py
# Hardware: 1 GPU, 64 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./benchmarks/swin-tiny_1xb64-100e_in100.py", "../_base_/models/relvit_joint.py"]

model = _base_.joint
randomness = dict(seed=2022)
