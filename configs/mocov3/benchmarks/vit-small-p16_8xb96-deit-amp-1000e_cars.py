# Transfer of MoCo v3's ViT-S/16 to Stanford Cars by iBOT's recipe: all weights are trained, with DeiT's augmentation.
# Paper:    the recipe is iBOT's (ICLR 2022, arXiv 2111.07832); the weights are MoCo v3's, arXiv 2104.02057.
# Command:  bash tools/dist_train.sh configs/mocov3/benchmarks/vit-small-p16_8xb96-deit-amp-1000e_cars.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 96 images each (batch 768).
# Expected: no published number is known to us; not yet measured by this project.
_base_ = ["../../ibot/benchmarks/vit-small-p16_8xb96-deit-amp-1000e_cars.py"]

# MoCo v3's ViT-S has 12 heads of 32 channels. Its fixed positions come with the weights and are trained now.
_base_.model.backbone.arch = dict(
    embed_dims=384, num_layers=12, num_heads=12, feedforward_channels=1536
)
