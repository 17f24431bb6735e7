# RelViT, ViT-S/32, 100 epochs on ImageNet-100 with mega-patches: 6 x 6 unequal rectangles of each image.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Data:     python tools/convert_dataset.py imagenet100 data/imagenet data/imagenet100 --classes LIST.txt
# Command:  python tools/train.py configs/relvit/relvit_vit-small-p32-megapatch6_1xb256-100e_in100.py
# Hardware: 1 GPU, 256 images.
# Expected: the paper's tables could not be consulted; not yet measured by this project.
_base_ = ["./relvit_vit-small-p32_1xb256-100e_in100.py"]

model = dict(head=dict(relation=dict(side=6), position=dict(side=6)))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="mmrel.DecodeImage"),
            dict(
                type="mmrel.MultiCrop",
                num_global=1,
                num_local=0,
                global_scale=(0.08, 1.0),
                interpolation="bilinear",
            ),
            dict(type="mmrel.DrawMegaPatches", patch_size=32, count=6),
            dict(type="mmrel.DrawPatchAugmentation", patch_size=32),
            dict(type="mmrel.PackViews", patch_size=32),
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="mmrel.DecodeImage"),
            *_base_.whole,
            dict(type="mmrel.DrawMegaPatches", patch_size=32, count=6),
            dict(type="mmrel.PackViews", patch_size=32),
        ],
    ),
)
