# Fine-tuning of RelViT's ViT-S/32 on ImageNet-100.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Command:  python tools/train.py configs/relvit/benchmarks/vit-small-p32_1xb256-100e_in100.py
#               --cfg-options model.backbone.init_cfg.checkpoint=CHECKPOINT
#           with the last one of relvit_vit-small-p32_1xb256-100e_in100; without it: random weights
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = [
    "../../_base_/models/cls_relvit_vit-small-p4.py",
    "../../_base_/datasets/cls_in100.py",
    "../../_base_/schedules/relvit_adamw.py",
    "../../_base_/cls_runtime.py",
]

model = dict(
    backbone=dict(img_size=224, patch_size=32),
    head=dict(num_classes=100),
)
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()
randomness = dict(seed=35771)
