# Fine-tuning of SERE's ViT-S/16 on ImageNet-1k as MAE does: mean patch token, new norm, rate that decays with depth.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184, whose
#           authors fine-tune with MAE's code; settings of MAE, CVPR 2022, arXiv 2111.06377. ViT-S has ViT-B's values,
#           MAE's smallest.
# Command:  bash tools/dist_train.sh configs/sere/benchmarks/vit-small-p16_8xb128-gap-amp-coslr-100e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: 81.5 top-1 (README of MCG-NKU/SERE, where it is not said whether with mean or class token); not yet
#           measured by this project.
_base_ = [
    "../../_base_/models/cls_gap_vit-small-p16.py",
    "../../_base_/datasets/cls_in1k.py",
    "../../_base_/schedules/cls_layer-decay-100e.py",
    "../../_base_/cls_runtime.py",
]

rate = 5e-4 * 1024 / 256
optim_wrapper = dict(optimizer=dict(lr=rate))
_base_.param_scheduler[1].eta_min_ratio = 1e-6 / rate
