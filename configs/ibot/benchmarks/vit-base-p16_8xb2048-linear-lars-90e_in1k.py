# Linear probe of a ViT-B/16 on ImageNet-1k as MAE does it: batch norm before the layer, LARS, batch 16384.
# Paper:    Masked Autoencoders Are Scalable Vision Learners, arXiv 2111.06377, table 10.
# Command:  bash tools/dist_train.sh configs/ibot/benchmarks/vit-base-p16_8xb2048-linear-lars-90e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 2048 images each (batch 16384); fewer: train_dataloader.batch_size=... and --auto-scale-lr.
# Expected: no number for iBOT; not yet measured by this project.
# For the backbone of any method here. MAE's mean patch token instead of the class token: model.avgpool=1.
_base_ = [
    "../../_base_/models/cls_linear_vit-small-p16.py",
    "../../_base_/datasets/cls_linear.py",
    "../../_base_/schedules/linear_lars-90e.py",
    "../../_base_/cls_runtime.py",
]

model = dict(backbone=dict(arch="deit-base"), n_last_blocks=1, avgpool=0, batch_norm=True)
_base_.train_dataloader.dataset.pipeline[1].interpolation = "bicubic"
train_dataloader = dict(batch_size=2048)
