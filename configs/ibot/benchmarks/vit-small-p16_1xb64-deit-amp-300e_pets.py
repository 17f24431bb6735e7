# Transfer of iBOT's ViT-S/16 to Oxford-IIIT Pets by DeiT's recipe, on one GPU, as configs/sit/benchmarks has it.
# Paper:    none for iBOT; DeiT's settings (ICML 2021, arXiv 2012.12877, table 9), as for SiT.
# Command:  python tools/train.py configs/ibot/benchmarks/vit-small-p16_1xb64-deit-amp-300e_pets.py
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 1 GPU, 64 images.
# Expected: no published number is known to us; not yet measured by this project.
_base_ = [
    "../../_base_/models/cls_vit-small-p16.py",
    "../../_base_/datasets/cls_deit.py",
    "../../_base_/schedules/cls_deit-300e.py",
    "../../_base_/cls_runtime.py",
]

data_root = "data/pets"
_base_.train_dataloader.dataset.data_root = data_root + "/trainval"
_base_.val_dataloader.dataset.data_root = data_root + "/test"
_base_.test_dataloader.dataset.data_root = data_root + "/test"
_base_.model.head.num_classes = _base_.data_preprocessor.num_classes = 37
