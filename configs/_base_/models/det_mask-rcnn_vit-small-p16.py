"""Mask R-CNN on a plain ViT-S/16 with a class token: mmdet's ResNet base with another backbone and
neck.

Anchors, RoI heads, training and test settings are mmdet's.
"""

_base_ = "mmdet::_base_/models/mask-rcnn_r50_fpn.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmrel.DenseViT",
        arch="deit-small",
        img_size=224,
        patch_size=16,
        out_indices=[3, 5, 7, 11],
        out_norm="none",
        drop_path_rate=0.05,
    ),
    neck=[
        dict(type="mmrel.ViTPyramid", in_channels=384, scales=(4, 2, 1, 0.5)),
        dict(type="FPN", in_channels=[384, 384, 384, 384], out_channels=256, num_outs=5),
    ],
)
