# Fine-tuning of SiT's ViT-S/16 on Stanford Cars by DeiT's recipe.
# Paper:    SiT: Self-supervised vIsion Transformer, arXiv 2104.03602, version 3, whose authors name DeiT's code with
#           its default parameters; 300 epochs are DeiT's, the length behind the published figure is not known.
# Command:  python tools/train.py configs/sit/benchmarks/vit-small-p16_1xb64-deit-amp-300e_cars.py
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 1 GPU, 64 images.
# Expected: 92.1 top-1 (arXiv 2104.03602; there, 27.4 from random weights); not yet measured by this project.
_base_ = ["./vit-small-p16_1xb64-deit-amp-300e_pets.py"]

data_root = "data/cars"
_base_.train_dataloader.dataset.data_root = data_root + "/train"
_base_.val_dataloader.dataset.data_root = data_root + "/test"
_base_.test_dataloader.dataset.data_root = data_root + "/test"
_base_.model.head.num_classes = _base_.data_preprocessor.num_classes = 196
