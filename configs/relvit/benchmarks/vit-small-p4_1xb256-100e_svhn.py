# Fine-tuning of RelViT's ViT-S/4 on SVHN.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Command:  python tools/train.py configs/relvit/benchmarks/vit-small-p4_1xb256-100e_svhn.py
#               --cfg-options model.backbone.init_cfg.checkpoint=CHECKPOINT
#           with the last one of relvit_vit-small-p4_1xb256-100e_svhn; without it: random weights
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./vit-small-p4_1xb256-100e_cifar10.py"]

data_root = "data/svhn"
_base_.train_dataloader.dataset.data_root = data_root + "/train"
_base_.val_dataloader.dataset.data_root = data_root + "/test"
_base_.test_dataloader.dataset.data_root = data_root + "/test"
data_preprocessor = dict(
    mean=[255 * x for x in (0.4378, 0.4439, 0.4729)],
    std=[255 * x for x in (0.1981, 0.2011, 0.1970)],
)
