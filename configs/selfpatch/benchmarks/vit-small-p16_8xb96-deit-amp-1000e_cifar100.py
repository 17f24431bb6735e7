# Transfer of SelfPatch's ViT-S/16 to CIFAR-100 by iBOT's recipe: all weights are trained, with DeiT's augmentation.
# Paper:    the recipe is iBOT's (ICLR 2022, arXiv 2111.07832); the weights are SelfPatch's, arXiv 2206.07990.
# Command:  bash tools/dist_train.sh configs/selfpatch/benchmarks/vit-small-p16_8xb96-deit-amp-1000e_cifar100.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 96 images each (batch 768).
# Expected: no published number is known to us; not yet measured by this project.
_base_ = ["../../ibot/benchmarks/vit-small-p16_8xb96-deit-amp-1000e_cifar100.py"]

# Neither class token nor final norm: the mean patch token through a new layer norm.
model = dict(
    backbone=dict(with_cls_token=False, final_norm=False),
    neck=dict(feature="avg", norm_channels=384),
)
