# SiT, ViT-S/16, 800 epochs on ImageNet-1k: an ablation that corrupts whole patches, where the default corrupts
# blocks of pixels that may begin anywhere.
# Paper:    SiT: Self-supervised vIsion Transformer, arXiv 2104.03602, version 3; align 16 is the default of a function
#           of the official code that its script overrides with 1.
# Command:  bash tools/dist_train.sh configs/sit/sit-align16_vit-small-p16_4xb64-amp-coslr-800e_in1k.py 4
# Hardware: 4 GPUs, 64 images each (batch 256).
# Expected: no published number; not yet measured by this project.
_base_ = ["./sit_vit-small-p16_4xb64-amp-coslr-800e_in1k.py"]

_base_.train_dataloader.dataset.pipeline[3].align = 16
