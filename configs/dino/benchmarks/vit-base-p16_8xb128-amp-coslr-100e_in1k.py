# Fine-tuning of DINO's ViT-B/16 on ImageNet-1k as iBOT does: class token, rate that decays with depth.
# Paper:    the recipe is iBOT's (ICLR 2022, arXiv 2111.07832); the weights are DINO's, arXiv 2104.14294.
# Command:  bash tools/dist_train.sh configs/dino/benchmarks/vit-base-p16_8xb128-amp-coslr-100e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: no published number is known to us for this form; not yet measured by this project.
_base_ = ["../../ibot/benchmarks/vit-base-p16_8xb128-amp-coslr-100e_in1k.py"]
