# Fine-tuning of SiT's ViT-S/16 on CIFAR-100 by DeiT's recipe.
# Paper:    SiT: Self-supervised vIsion Transformer, arXiv 2104.03602, version 3, whose authors name DeiT's code with
#           its default parameters; 300 epochs are DeiT's, the length behind the published figure is not known.
# Command:  python tools/train.py configs/sit/benchmarks/vit-small-p16_1xb64-deit-amp-300e_cifar100.py
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 1 GPU, 64 images.
# Expected: 85.2 top-1 (arXiv 2104.03602; there, 77.8 from random weights); not yet measured by this project.
_base_ = ["./vit-small-p16_1xb64-deit-amp-300e_pets.py"]

data_root = "data/cifar100"
_base_.train_dataloader.dataset.data_root = data_root + "/train"
_base_.val_dataloader.dataset.data_root = data_root + "/test"
_base_.test_dataloader.dataset.data_root = data_root + "/test"
_base_.model.head.num_classes = _base_.data_preprocessor.num_classes = 100
