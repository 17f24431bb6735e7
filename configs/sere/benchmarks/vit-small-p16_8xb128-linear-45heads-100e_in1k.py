# Linear probe of SERE's ViT-S/16 on ImageNet-1k: iBOT's 45 rates at once, class tokens of the last four blocks.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184;
#           iBOT's sweep.
# Command:  bash tools/dist_train.sh configs/sere/benchmarks/vit-small-p16_8xb128-linear-45heads-100e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024); another number: --auto-scale-lr.
# Expected: no number is quoted here; see the paper. Not yet measured by this project.
_base_ = ["../../ibot/benchmarks/vit-small-p16_8xb128-linear-45heads-100e_in1k.py"]
