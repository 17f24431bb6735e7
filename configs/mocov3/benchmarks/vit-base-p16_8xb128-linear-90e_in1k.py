# Linear probe of MoCo v3's ViT-B/16 on ImageNet-1k: the class token.
# Paper:    An Empirical Study of Training Self-Supervised Vision Transformers, arXiv 2104.02057, and mmpretrain's
#           recipe of it.
# Command:  bash tools/dist_train.sh configs/mocov3/benchmarks/vit-base-p16_8xb128-linear-90e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024); another number: --auto-scale-lr.
# Expected: no number is quoted here; see the paper. Not yet measured by this project.
_base_ = ["./vit-small-p16_8xb128-linear-90e_in1k.py"]

model = dict(backbone=dict(arch="deit-base"))
