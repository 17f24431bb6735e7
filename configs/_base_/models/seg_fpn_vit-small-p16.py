"""Semantic FPN on a plain ViT-S/16 without class token, as SelfPatch uses it on ADE20K (CVPR 2022).

mmseg's Semantic FPN base (128 head channels, dropout 0.1, SyncBN, whole-image test) with another
backbone, and a pyramid that gives the head the strides 4, 8, 16, 32 which it is made for.
"""

_base_ = "mmseg::_base_/models/fpn_r50.py"

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type="mmrel.DenseViT",
        arch="deit-small",
        img_size=512,
        pos_interpolation="size",
        patch_size=16,
        out_indices=[2, 5, 8, 11],
        out_norm="none",
        with_cls_token=False,
        drop_path_rate=0.1,
    ),
    neck=[
        dict(type="mmrel.ViTPyramid", in_channels=384, scales=(4, 2, 1, 0.5)),
        dict(type="FPN", in_channels=[384, 384, 384, 384], out_channels=256, num_outs=4),
    ],
    decode_head=dict(num_classes=150),
)
