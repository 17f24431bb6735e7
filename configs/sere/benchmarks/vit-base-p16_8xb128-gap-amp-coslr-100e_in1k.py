# Fine-tuning of SERE's ViT-B/16 on ImageNet-1k as MAE does: mean patch token, new norm, rate that decays with depth.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184, whose
#           authors fine-tune with MAE's code; settings of MAE, CVPR 2022, arXiv 2111.06377.
# Command:  bash tools/dist_train.sh configs/sere/benchmarks/vit-base-p16_8xb128-gap-amp-coslr-100e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: 83.7 top-1 (README of MCG-NKU/SERE, where it is not said whether with mean or class token); not yet
#           measured by this project.
_base_ = ["./vit-small-p16_8xb128-gap-amp-coslr-100e_in1k.py"]

model = dict(
    backbone=dict(arch="deit-base"),
    neck=dict(norm_channels=768),
    head=dict(in_channels=768),
)
