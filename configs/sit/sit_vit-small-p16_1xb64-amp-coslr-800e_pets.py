# SiT, ViT-S/16, 800 epochs on Oxford-IIIT Pets (3680 training images); alpha 5, as for all small sets.
# Paper:    SiT: Self-supervised vIsion Transformer, arXiv 2104.03602, version 3; settings of the official code, which
#           does not say how long to train on small sets.
# Data:     python tools/convert_dataset.py pets DOWNLOADS data/pets
# Command:  python tools/train.py configs/sit/sit_vit-small-p16_1xb64-amp-coslr-800e_pets.py
# Hardware: 1 GPU, 64 images.
# Expected: 84.7 top-1 after fine-tuning (arXiv 2104.03602); not yet measured by this project.
_base_ = ["./sit_vit-small-p16_4xb64-amp-coslr-800e_in1k.py"]

data_root = "data/pets/trainval"
val_root = "data/pets/test"
_base_.train_dataloader.dataset.data_root = data_root
_base_.default_hooks.knn.bank_dataloader.dataset.data_root = data_root
_base_.default_hooks.knn.val_dataloader.dataset.data_root = val_root

model = dict(alpha=5.0)
optim_wrapper = dict(optimizer=dict(lr=1.25e-4))
default_hooks = dict(knn=dict(k=(10, 20), interval=20))
auto_scale_lr = dict(base_batch_size=64)
