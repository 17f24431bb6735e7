# Transfer of DINO's ViT-S/16 to CIFAR-10 by iBOT's recipe: all weights are trained, with DeiT's augmentation.
# Paper:    the recipe is iBOT's (ICLR 2022, arXiv 2111.07832); the weights are DINO's, arXiv 2104.14294.
# Command:  bash tools/dist_train.sh configs/dino/benchmarks/vit-small-p16_8xb96-deit-amp-1000e_cifar10.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 96 images each (batch 768).
# Expected: no published number is known to us; not yet measured by this project.
_base_ = ["../../ibot/benchmarks/vit-small-p16_8xb96-deit-amp-1000e_cifar10.py"]
