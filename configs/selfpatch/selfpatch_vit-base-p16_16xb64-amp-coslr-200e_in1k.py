# SelfPatch, ViT-B/16, 200 epochs on ImageNet-1k. No ViT-B recipe is published: this is SelfPatch's ViT-S with the
# learning rates, the clipping and the frozen epochs of DINO's ViT-B, a starting point of our own.
# Paper:    Patch-level Representation Learning for Self-supervised Vision Transformers, CVPR 2022, arXiv 2206.07990.
# Command:  on each of two nodes, with NNODES, NODE_RANK and MASTER_ADDR set: bash tools/dist_train.sh
#           configs/selfpatch/selfpatch_vit-base-p16_16xb64-amp-coslr-200e_in1k.py 8
# Hardware: 16 GPUs, 64 images each (batch 1024).
# Expected: no published figure known; not yet measured by this project.
_base_ = ["./selfpatch_vit-small-p16_8xb128-amp-coslr-200e_in1k.py"]

model = dict(backbone=dict(arch="deit-base"), neck=dict(in_channels=768, num_heads=12))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=3e-3), clip_grad=dict(max_norm=0.3))
_base_.param_scheduler[0].end = 2e-6
default_hooks = dict(last_layer_freeze=dict(epochs=3))
