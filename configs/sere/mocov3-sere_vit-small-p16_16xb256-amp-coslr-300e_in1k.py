# SERE on MoCo v3, ViT-S/16, 300 epochs on ImageNet-1k.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184.
#           The base's weight, 2.3, follows the rule (m + 2 - alpha - beta) / m with m = 1 loss term: our reading.
#           MoCo v3's ViT-S has 12 heads; the relation has 6 groups of 64 channels, as on every ViT-S here.
# Command:  on each of two nodes, with NNODES, NODE_RANK and MASTER_ADDR set: bash tools/dist_train.sh
#           configs/sere/mocov3-sere_vit-small-p16_16xb256-amp-coslr-300e_in1k.py 8
# Hardware: 16 GPUs, 256 images each (batch 4096).
# Expected: no published figure known; not yet measured by this project.
_base_ = ["../mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py"]

model = dict(_delete_=True, type="mmrel.SERE", base=_base_.model, alpha=0.2, beta=0.5, num_heads=6)
optim_wrapper = dict(paramwise_cfg=dict(decay_rule="sere"))
