# SERE on iBOT, ViT-L/16, 100 epochs on ImageNet-1k.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184.
# Ours:     the authors have no ViT-L. This is SERE as in the ViT-B recipe (weights, groups of 64 channels, biases
#           decayed, 100 epochs) on the iBOT recipe of ViT-L/16.
# Command:  on each of two nodes, with NNODES, NODE_RANK and MASTER_ADDR set: bash tools/dist_train.sh
#           configs/sere/ibot-sere_vit-large-p16_16xb64-amp-coslr-100e_in1k.py 8
# Hardware: 16 GPUs, 64 images each (batch 1024). Modelled memory of one: 13.5 GiB, 5.8 of them weights,
#           teacher, gradients and moments; with recompute='none' some 45 GiB.
# Expected: no published figure known; not yet measured by this project.
_base_ = ["../ibot/ibot_vit-large-p16_16xb64-amp-coslr-250e_in1k.py"]

model = dict(_delete_=True, type="mmrel.SERE", base=_base_.model, alpha=0.2, beta=0.5, num_heads=16)
optim_wrapper = dict(paramwise_cfg=dict(decay_rule="sere"))
train_cfg = dict(max_epochs=100)
