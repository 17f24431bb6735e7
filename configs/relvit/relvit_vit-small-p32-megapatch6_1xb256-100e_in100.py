# RelViT, ViT-S/32, 100 epochs on ImageNet-100 with mega-patches: 6 x 6 unequal rectangles of each image.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Data:     python tools/convert_dataset.py imagenet100 data/imagenet data/imagenet100 --classes LIST.txt
# Command:  python tools/train.py configs/relvit/relvit_vit-small-p32-megapatch6_1xb256-100e_in100.py
# Hardware: 1 GPU, 256 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./relvit_vit-small-p32_1xb256-100e_in100.py"]

model = dict(head=dict(relation=dict(side=6), position=dict(side=6)))
mega_patches = dict(type="mmrel.DrawMegaPatches", patch_size=32, count=6)
train_pipeline = [*_base_.train_pipeline[:2], mega_patches, *_base_.train_pipeline[2:]]
val_pipeline = [*_base_.val_pipeline[:-1], mega_patches, _base_.val_pipeline[-1]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
