# Fine-tuning of iBOT's ViT-L/16 on ImageNet-1k as iBOT does: class token, rate that decays with depth.
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022, arXiv 2111.07832; settings of the public
#           code, which has BEiT's.
# Command:  bash tools/dist_train.sh configs/ibot/benchmarks/vit-large-p16_8xb128-amp-coslr-50e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: 84.8 top-1 after 250 epochs of pretraining (README of bytedance/ibot); not yet measured by this project.
_base_ = ["./vit-small-p16_8xb128-amp-coslr-200e_in1k.py"]

model = dict(
    backbone=dict(arch="large", drop_path_rate=0.4, recompute="block"),
    head=dict(in_channels=1024),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
train_cfg = dict(max_epochs=50)
_base_.param_scheduler[0].end = _base_.param_scheduler[1].begin = 5
_base_.param_scheduler[1].end = 50
