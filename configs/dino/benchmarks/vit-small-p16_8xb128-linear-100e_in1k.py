# Linear probe of DINO's ViT-S/16 on ImageNet-1k: class tokens of the last four blocks.
# Paper:    Emerging Properties in Self-Supervised Vision Transformers, arXiv 2104.14294; rates and features of its
#           code.
# Command:  bash tools/dist_train.sh configs/dino/benchmarks/vit-small-p16_8xb128-linear-100e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024); another number: --auto-scale-lr.
# Expected: 77.0 top-1 with the authors' 800-epoch weights (paper); not yet measured by this project.
_base_ = [
    "../../_base_/models/cls_linear_vit-small-p16.py",
    "../../_base_/datasets/cls_linear.py",
    "../../_base_/schedules/linear_sgd-100e.py",
    "../../_base_/cls_runtime.py",
]
