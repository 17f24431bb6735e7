# SiT, ViT-S/16, 800 epochs on STL-10 (105000 labelled and unlabelled training images); alpha 5, as for all small sets.
# Paper:    SiT: Self-supervised vIsion Transformer, arXiv 2104.03602, version 3; settings of the official code, which
#           does not say how long to train on small sets.
# Data:     python tools/convert_dataset.py stl10 DOWNLOADS data/stl10; then, to put labelled and unlabelled images
#           together: mkdir data/stl10/pretrain; ln -s ../train ../unlabeled data/stl10/pretrain
# Command:  python tools/train.py configs/sit/sit_vit-small-p16_1xb64-amp-coslr-800e_stl10.py
# Hardware: 1 GPU, 64 images.
# Expected: 96.5 top-1 after fine-tuning (arXiv 2104.03602); not yet measured by this project.
_base_ = ["./sit_vit-small-p16_1xb64-amp-coslr-800e_pets.py"]

data_root = "data/stl10/pretrain"
val_root = "data/stl10/test"
_base_.train_dataloader.dataset.data_root = data_root
_base_.default_hooks.knn.bank_dataloader.dataset.data_root = "data/stl10/train"
_base_.default_hooks.knn.val_dataloader.dataset.data_root = val_root
