# Fine-tuning of RelViT's ViT-S/32 on Flower-102, evaluated on its validation images.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README, but ImageNet's statistics for
#           normalisation, since it has none for this set.
# Command:  python tools/train.py configs/relvit/benchmarks/vit-small-p32_1xb256-100e_flowers102.py
#               --cfg-options model.backbone.init_cfg.checkpoint=CHECKPOINT
#           with the last one of relvit_vit-small-p32_1xb256-100e_flowers102; without it: random weights
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./vit-small-p32_1xb256-100e_in100.py"]

data_root = "data/flowers102"
_base_.train_dataloader.dataset.data_root = data_root + "/train"
_base_.val_dataloader.dataset.data_root = data_root + "/val"
_base_.test_dataloader.dataset.data_root = data_root + "/val"
_base_.model.head.num_classes = _base_.data_preprocessor.num_classes = 102
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
