# Fine-tuning of MoCo v3's ViT-B/16 on ImageNet-1k by DeiT's recipe for 150 epochs.
# Paper:    An Empirical Study of Training Self-Supervised Vision Transformers, ICCV 2021, arXiv 2104.02057, with
#           DeiT's code (arXiv 2012.12877); settings of mmpretrain's recipe for ViT-B, without its average of the
#           weights.
# Command:  bash tools/dist_train.sh configs/mocov3/benchmarks/vit-base-p16_8xb64-amp-coslr-150e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 64 images each (batch 512).
# Expected: 83.2 top-1 (CONFIG.md of facebookresearch/moco-v3); 83.0 with mmpretrain's recipe, by its metafile; not yet
#           measured by this project.
_base_ = ["./vit-small-p16_8xb64-amp-coslr-150e_in1k.py"]

_base_.model.backbone.arch = "deit-base"
model = dict(head=dict(in_channels=768))
