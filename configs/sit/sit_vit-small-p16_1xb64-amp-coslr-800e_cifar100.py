# SiT, ViT-S/16, 800 epochs on CIFAR-100 (50000 training images); alpha 5, as for all small sets.
# Paper:    SiT: Self-supervised vIsion Transformer, arXiv 2104.03602, version 3; settings of the official code, which
#           does not say how long to train on small sets.
# Data:     python tools/convert_dataset.py cifar100 DOWNLOADS data/cifar100
# Command:  python tools/train.py configs/sit/sit_vit-small-p16_1xb64-amp-coslr-800e_cifar100.py
# Hardware: 1 GPU, 64 images.
# Expected: 85.2 top-1 after fine-tuning (arXiv 2104.03602); not yet measured by this project.
_base_ = ["./sit_vit-small-p16_1xb64-amp-coslr-800e_pets.py"]

data_root = "data/cifar100/train"
val_root = "data/cifar100/test"
_base_.train_dataloader.dataset.data_root = data_root
_base_.default_hooks.knn.bank_dataloader.dataset.data_root = data_root
_base_.default_hooks.knn.val_dataloader.dataset.data_root = val_root
