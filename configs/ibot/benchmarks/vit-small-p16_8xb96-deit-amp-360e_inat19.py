# Transfer of iBOT's ViT-S/16 to iNaturalist 2019 by iBOT's recipe: all weights are trained, with DeiT's augmentation.
# Lists of images: data/inaturalist2019/train.txt and val.txt, see configs/README.md.
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022, arXiv 2111.07832; settings of the public
#           code.
# Command:  bash tools/dist_train.sh configs/ibot/benchmarks/vit-small-p16_8xb96-deit-amp-360e_inat19.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 96 images each (batch 768).
# Expected: no number is quoted here; see the paper. Not yet measured by this project.
_base_ = ["./vit-small-p16_8xb96-deit-amp-360e_inat18.py"]

data_root = "data/inaturalist2019"
_base_.train_dataloader.dataset.data_root = data_root
_base_.val_dataloader.dataset.data_root = data_root
_base_.test_dataloader.dataset.data_root = data_root
_base_.model.head.num_classes = _base_.data_preprocessor.num_classes = 1010
rate = 2.5e-5 * 768 / 512
optim_wrapper = dict(optimizer=dict(lr=rate))
_base_.param_scheduler[0].start_factor = 1e-6 / rate
