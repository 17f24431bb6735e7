# RelViT's joint mode ("downstream-only") on the scenes' 10 classes: classification and pretext tasks at once.
# Paper:    none; a shrunk form of the joint recipes, to compare with classification alone, which is
#           configs/relvit/benchmarks/vit-tiny-p8_scenes.py, on one budget.
# Command:  python tools/train.py configs/relvit/relvit-joint_vit-tiny-p8_scenes.py
# Hardware: one CPU core or one GPU.
# Expected: see the README beside the recipes; there is no published number.
_base_ = ["./benchmarks/vit-tiny-p8_scenes.py", "../_base_/models/relvit_joint.py"]

model = _base_.joint
