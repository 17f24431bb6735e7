# Transfer of iBOT's ViT-S/16 to iNaturalist 2018 by iBOT's recipe: all weights are trained, with DeiT's augmentation.
# Lists of images: data/inaturalist2018/train.txt and val.txt, see configs/README.md.
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022, arXiv 2111.07832; settings of the public
#           code.
# Command:  bash tools/dist_train.sh configs/ibot/benchmarks/vit-small-p16_8xb96-deit-amp-360e_inat18.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 96 images each (batch 768).
# Expected: no number is quoted here; see the paper. Not yet measured by this project.
_base_ = ["./vit-small-p16_8xb96-deit-amp-1000e_cifar10.py"]

data_root = "data/inaturalist2018"
_base_.train_dataloader.dataset.update(data_root=data_root, ann_file="train.txt")
_base_.val_dataloader.dataset.update(data_root=data_root, ann_file="val.txt")
_base_.test_dataloader.dataset.update(data_root=data_root, ann_file="val.txt")
_base_.model.head.num_classes = _base_.data_preprocessor.num_classes = 8142
_base_.train_dataloader.dataset.pipeline[4].erase_prob = 0.1
train_cfg = dict(max_epochs=360)
_base_.param_scheduler[1].end = 360
rate = 5e-5 * 768 / 512
optim_wrapper = dict(optimizer=dict(lr=rate))
_base_.param_scheduler[0].start_factor = 1e-6 / rate
