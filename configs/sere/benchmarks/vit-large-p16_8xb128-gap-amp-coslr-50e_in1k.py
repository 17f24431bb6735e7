# Fine-tuning of SERE's ViT-L/16 on ImageNet-1k as MAE does: mean patch token, new norm, rate that decays with depth.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184, whose
#           authors fine-tune with MAE's code; settings of MAE, CVPR 2022, arXiv 2111.06377.
# Command:  bash tools/dist_train.sh configs/sere/benchmarks/vit-large-p16_8xb128-gap-amp-coslr-50e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: no published number; not yet measured by this project.
_base_ = ["./vit-small-p16_8xb128-gap-amp-coslr-100e_in1k.py"]

model = dict(
    backbone=dict(arch="large", drop_path_rate=0.2, recompute="block"),
    neck=dict(norm_channels=1024),
    head=dict(in_channels=1024),
)
rate = 1e-3 * 1024 / 256
optim_wrapper = dict(optimizer=dict(lr=rate), paramwise_cfg=dict(layer_decay_rate=0.75))
train_cfg = dict(max_epochs=50)
_base_.param_scheduler[1].update(end=50, eta_min_ratio=1e-6 / rate)
