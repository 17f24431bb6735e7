# Transfer of MoCo v3's ViT-B/16 to iNaturalist 2018 by iBOT's recipe: all weights are trained, with DeiT's
# augmentation. Lists of images: data/inaturalist2018/train.txt and val.txt, see configs/README.md.
# Paper:    the recipe is iBOT's (ICLR 2022, arXiv 2111.07832); the weights are MoCo v3's, arXiv 2104.02057.
# Command:  bash tools/dist_train.sh configs/mocov3/benchmarks/vit-base-p16_8xb96-deit-amp-360e_inat18.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 96 images each (batch 768).
# Expected: no published number is known to us; not yet measured by this project.
_base_ = ["../../ibot/benchmarks/vit-base-p16_8xb96-deit-amp-360e_inat18.py"]
