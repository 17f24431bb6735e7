# Fine-tuning of RelViT's ViT-S/4 on CIFAR-100.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Command:  python tools/train.py configs/relvit/benchmarks/vit-small-p4_1xb256-100e_cifar100.py
#               --cfg-options model.backbone.init_cfg.checkpoint=CHECKPOINT
#           with the last one of relvit_vit-small-p4_1xb256-100e_cifar100; without it: random weights
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./vit-small-p4_1xb256-100e_cifar10.py"]

data_root = "data/cifar100"
_base_.train_dataloader.dataset.data_root = data_root + "/train"
_base_.val_dataloader.dataset.data_root = data_root + "/test"
_base_.test_dataloader.dataset.data_root = data_root + "/test"
_base_.model.head.num_classes = _base_.data_preprocessor.num_classes = 100
data_preprocessor = dict(
    mean=[255 * x for x in (0.5071, 0.4866, 0.4409)],
    std=[255 * x for x in (0.2673, 0.2564, 0.2761)],
)
