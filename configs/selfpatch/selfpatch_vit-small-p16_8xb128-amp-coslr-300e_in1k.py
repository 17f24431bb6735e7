# SelfPatch, ViT-S/16, 300 epochs on ImageNet-1k: the default length of the official code.
# Paper:    Patch-level Representation Learning for Self-supervised Vision Transformers, CVPR 2022, arXiv 2206.07990.
# Command:  bash tools/dist_train.sh configs/selfpatch/selfpatch_vit-small-p16_8xb128-amp-coslr-300e_in1k.py 8
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: at least the figures of 200 epochs; which length the published ones had is not known for certain;
#           not yet measured by this project.
_base_ = ["./selfpatch_vit-small-p16_8xb128-amp-coslr-200e_in1k.py"]

train_cfg = dict(max_epochs=300)
