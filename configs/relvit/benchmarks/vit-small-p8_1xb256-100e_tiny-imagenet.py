# Fine-tuning of RelViT's ViT-S/8 on Tiny-ImageNet.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Command:  python tools/train.py configs/relvit/benchmarks/vit-small-p8_1xb256-100e_tiny-imagenet.py
#               --cfg-options model.backbone.init_cfg.checkpoint=CHECKPOINT
#           with the last one of relvit_vit-small-p8_1xb256-100e_tiny-imagenet; without it: random weights
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./vit-small-p4_1xb256-100e_cifar10.py"]

data_root = "data/tiny-imagenet"
_base_.train_dataloader.dataset.data_root = data_root + "/train"
_base_.val_dataloader.dataset.data_root = data_root + "/val"
_base_.test_dataloader.dataset.data_root = data_root + "/val"
_base_.model.head.num_classes = _base_.data_preprocessor.num_classes = 200
data_preprocessor = dict(
    mean=[255 * x for x in (0.4802, 0.4481, 0.3975)],
    std=[255 * x for x in (0.2770, 0.2691, 0.2821)],
)
model = dict(backbone=dict(img_size=64, patch_size=8))
_base_.train_dataloader.dataset.pipeline[1].crop_size = 64
