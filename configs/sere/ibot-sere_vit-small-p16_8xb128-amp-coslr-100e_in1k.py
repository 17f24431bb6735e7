# SERE on iBOT, ViT-S/16, 100 epochs on ImageNet-1k.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184.
# Command:  bash tools/dist_train.sh configs/sere/ibot-sere_vit-small-p16_8xb128-amp-coslr-100e_in1k.py 8
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: 81.5 top-1 on ImageNet-1k after 100 epochs of full fine-tuning (README of the official code);
#           not yet measured by this project.
_base_ = ["../ibot/ibot_vit-small-p16_8xb128-amp-coslr-100e_in1k.py"]

model = dict(_delete_=True, type="mmrel.SERE", base=_base_.model, alpha=0.2, beta=0.5, num_heads=6)
optim_wrapper = dict(paramwise_cfg=dict(decay_rule="sere"))
