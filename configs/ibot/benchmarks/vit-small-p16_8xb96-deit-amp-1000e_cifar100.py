# Transfer of iBOT's ViT-S/16 to CIFAR-100 by iBOT's recipe: all weights are trained, with DeiT's augmentation.
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022, arXiv 2111.07832; settings of the public
#           code.
# Command:  bash tools/dist_train.sh configs/ibot/benchmarks/vit-small-p16_8xb96-deit-amp-1000e_cifar100.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 96 images each (batch 768).
# Expected: no number is quoted here; see the paper. Not yet measured by this project.
_base_ = ["./vit-small-p16_8xb96-deit-amp-1000e_cifar10.py"]

data_root = "data/cifar100"
_base_.train_dataloader.dataset.data_root = data_root + "/train"
_base_.val_dataloader.dataset.data_root = data_root + "/test"
_base_.test_dataloader.dataset.data_root = data_root + "/test"
_base_.model.head.num_classes = _base_.data_preprocessor.num_classes = 100
