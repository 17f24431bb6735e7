# Linear probe of DINO's ViT-B/16 on ImageNet-1k: last class token and mean patch token.
# Paper:    Emerging Properties in Self-Supervised Vision Transformers, arXiv 2104.14294; rates and features of its
#           code.
# Command:  bash tools/dist_train.sh configs/dino/benchmarks/vit-base-p16_8xb128-linear-100e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024); another number: --auto-scale-lr.
# Expected: 78.2 top-1 with the authors' weights (paper); not yet measured by this project.
_base_ = ["./vit-small-p16_8xb128-linear-100e_in1k.py"]

model = dict(backbone=dict(arch="deit-base"), n_last_blocks=1, avgpool=2)
