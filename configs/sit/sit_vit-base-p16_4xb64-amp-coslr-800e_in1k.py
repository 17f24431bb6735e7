# SiT, ViT-B/16, 800 epochs on ImageNet-1k.
# Paper:    SiT: Self-supervised vIsion Transformer, arXiv 2104.03602, version 3; settings of the official code.
# Command:  bash tools/dist_train.sh configs/sit/sit_vit-base-p16_4xb64-amp-coslr-800e_in1k.py 4
# Hardware: 4 GPUs, 64 images each (batch 256).
# Expected: no number is quoted here; see the paper. Not yet measured by this project.
_base_ = ["./sit_vit-small-p16_4xb64-amp-coslr-800e_in1k.py"]

model = dict(
    backbone=dict(arch="deit-base"), neck=dict(in_channels=768), decoder=dict(in_channels=768)
)
