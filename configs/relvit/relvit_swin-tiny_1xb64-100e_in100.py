# RelViT, Swin-T, 100 epochs on ImageNet-100: relations and positions of its 7 x 7 tokens.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Data:     python tools/convert_dataset.py imagenet100 data/imagenet data/imagenet100 --classes LIST.txt
# Command:  python tools/train.py configs/relvit/relvit_swin-tiny_1xb64-100e_in100.py
# Hardware: 1 GPU, 64 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./relvit_vit-small-p32_1xb256-100e_in100.py"]

# This backbone always knows positions. To hide them, add dict(type="mmrel.ShufflePatches", patch_size=32) before
# mmrel.PackViews; the public code's scripts do not.
model = dict(backbone=dict(_delete_=True, type="mmrel.Swin"))
train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=64)
