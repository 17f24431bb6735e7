# Transfer of DINO's ViT-S/16 to Oxford-IIIT Pets by DeiT's recipe, on one GPU, as configs/sit/benchmarks has it.
# Paper:    none for DINO; DeiT's settings (ICML 2021, arXiv 2012.12877, table 9), as for SiT.
# Command:  python tools/train.py configs/dino/benchmarks/vit-small-p16_1xb64-deit-amp-300e_pets.py
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 1 GPU, 64 images.
# Expected: no published number is known to us; not yet measured by this project.
_base_ = ["../../ibot/benchmarks/vit-small-p16_1xb64-deit-amp-300e_pets.py"]
