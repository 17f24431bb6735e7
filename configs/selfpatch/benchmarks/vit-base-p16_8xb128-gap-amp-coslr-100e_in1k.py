# Fine-tuning of SelfPatch's ViT-B/16 on ImageNet-1k as MAE does: mean patch token, new norm, rate that decays with
# depth.
# Paper:    none for SelfPatch, whose authors fine-tune for detection and segmentation; settings of MAE, CVPR 2022,
#           arXiv 2111.06377.
# Command:  bash tools/dist_train.sh configs/selfpatch/benchmarks/vit-base-p16_8xb128-gap-amp-coslr-100e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: no published number; not yet measured by this project.
_base_ = ["../../sere/benchmarks/vit-base-p16_8xb128-gap-amp-coslr-100e_in1k.py"]

# SelfPatch trains no class token.
model = dict(backbone=dict(with_cls_token=False))
