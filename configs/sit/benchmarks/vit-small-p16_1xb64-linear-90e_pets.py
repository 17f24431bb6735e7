# Linear evaluation of SiT's ViT-S/16 on Oxford-IIIT Pets: the class token of the frozen backbone.
# Paper:    none for SiT, whose code has no script for it; mmpretrain's linear benchmark of MoCo v3 at 64 images.
# Command:  python tools/train.py configs/sit/benchmarks/vit-small-p16_1xb64-linear-90e_pets.py
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           Other small sets: add data_root=..., model.head.num_classes=... and the split's folder.
# Hardware: 1 GPU, 64 images.
# Expected: no published number; not yet measured by this project.
_base_ = ["./vit-small-p16_8xb128-linear-90e_in1k.py"]

data_root = "data/pets"
_base_.train_dataloader.dataset.data_root = data_root + "/trainval"
_base_.val_dataloader.dataset.data_root = data_root + "/test"
_base_.test_dataloader.dataset.data_root = data_root + "/test"
_base_.model.head.num_classes = _base_.data_preprocessor.num_classes = 37
train_dataloader = dict(batch_size=64)
val_dataloader = dict(batch_size=64)
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=0.75))
auto_scale_lr = dict(base_batch_size=64)
