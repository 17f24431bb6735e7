# MoCo v3, ViT-B/16, 300 epochs on ImageNet-1k.
# Paper:    An Empirical Study of Training Self-Supervised Vision Transformers, ICCV 2021, arXiv 2104.02057;
#           settings of the released model (CONFIG.md of the official code).
# Command:  on each of two nodes, with NNODES, NODE_RANK and MASTER_ADDR set: bash tools/dist_train.sh
#           configs/mocov3/mocov3_vit-base-p16_16xb256-amp-coslr-300e_in1k.py 8
# Hardware: 16 GPUs, 256 images each (batch 4096); 64 in the official code.
# Expected: 76.7 linear, 83.2 fine-tuned top-1 (README of the official code); not yet measured by this project.
_base_ = ["./mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py"]

model = dict(backbone=dict(arch="deit-base"), neck=dict(in_channels=768))
