# Linear probe of iBOT's ViT-B/16 on ImageNet-1k: 45 rates at once, last class token and mean patch token.
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, arXiv 2111.07832; rates and features of its code.
# Command:  bash tools/dist_train.sh configs/ibot/benchmarks/vit-base-p16_8xb128-linear-45heads-100e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024); another number: --auto-scale-lr.
# Expected: no number is quoted here; see the paper. Not yet measured by this project.
# The best of the 45 heads is chosen on the validation set, as in the paper, and the metric's name says so. iBOT's code
# also takes the best epoch; here the last one counts.
_base_ = ["./vit-small-p16_8xb128-linear-45heads-100e_in1k.py"]

model = dict(backbone=dict(arch="deit-base"), n_last_blocks=1, avgpool=2)
