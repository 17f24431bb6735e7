# Transfer of iBOT's ViT-B/16 to iNaturalist 2019 by iBOT's recipe: all weights are trained, with DeiT's augmentation.
# Lists of images: data/inaturalist2019/train.txt and val.txt, see configs/README.md.
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022, arXiv 2111.07832; settings of the public
#           code.
# Command:  bash tools/dist_train.sh configs/ibot/benchmarks/vit-base-p16_8xb96-deit-amp-360e_inat19.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 96 images each (batch 768).
# Expected: no number is quoted here; see the paper. Not yet measured by this project.
_base_ = ["./vit-small-p16_8xb96-deit-amp-360e_inat19.py"]

model = dict(backbone=dict(arch="deit-base"), head=dict(in_channels=768))
rate = 7.5e-6 * 768 / 512
optim_wrapper = dict(optimizer=dict(lr=rate))
_base_.param_scheduler[0].start_factor = 1e-6 / rate
