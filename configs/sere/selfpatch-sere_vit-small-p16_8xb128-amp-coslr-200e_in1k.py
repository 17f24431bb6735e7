# SERE on SelfPatch, ViT-S/16, 200 epochs on ImageNet-1k.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184.
#           The base's weight, 1.65, follows the rule (m + 2 - alpha - beta) / m with m = 2 loss terms: our reading.
# Command:  bash tools/dist_train.sh configs/sere/selfpatch-sere_vit-small-p16_8xb128-amp-coslr-200e_in1k.py 8
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: no published figure known; not yet measured by this project.
_base_ = ["../selfpatch/selfpatch_vit-small-p16_8xb128-amp-coslr-200e_in1k.py"]

model = dict(_delete_=True, type="mmrel.SERE", base=_base_.model, alpha=0.2, beta=0.5, num_heads=6)
optim_wrapper = dict(paramwise_cfg=dict(decay_rule="sere"))
