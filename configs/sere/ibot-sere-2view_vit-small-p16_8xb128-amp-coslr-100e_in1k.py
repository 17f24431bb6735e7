# SERE on iBOT without local crops, ViT-S/16, 100 epochs on ImageNet-1k: the cheap baseline.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184.
#           This variant is in the README of the authors' Jittor port.
# Command:  bash tools/dist_train.sh configs/sere/ibot-sere-2view_vit-small-p16_8xb128-amp-coslr-100e_in1k.py 8
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: no published figure known; not yet measured by this project.
_base_ = ["../ibot/ibot-2view_vit-small-p16_8xb128-amp-coslr-100e_in1k.py"]

model = dict(
    _delete_=True,
    type="mmrel.SERE",
    base=_base_.model,
    alpha=0.2,
    beta=0.5,
    num_heads=6,
    local=False,
)
optim_wrapper = dict(paramwise_cfg=dict(decay_rule="sere"))
