"""Semantic FPN on a plain ViT-S/16 without class token, as SelfPatch uses it on ADE20K (CVPR 2022).

mmseg's Semantic FPN base (128 head channels, dropout 0.1, SyncBN, whole-image test) with another
backbone, and a pyramid that gives the head the strides 4, 8, 16, 32 which it is made for.
"""

_base_ = ["mmseg::_base_/models/fpn_r50.py", "./dense_vit_small.py"]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    pretrained=None,
    backbone=dict(
        _base_.dense_vit_small,
        _delete_=True,
        img_size=512,
        pos_interpolation="size",
        out_indices=[2, 5, 8, 11],
        with_cls_token=False,
    ),
    neck=[
        _base_.pyramid,
        dict(type="FPN", in_channels=[384, 384, 384, 384], out_channels=256, num_outs=4),
    ],
    decode_head=dict(num_classes=150),
)
