"""Mask R-CNN on a plain ViT-S/16 with a class token: mmdet's ResNet base with another backbone and
neck.

Anchors, RoI heads, training and test settings are mmdet's.
"""

_base_ = ["mmdet::_base_/models/mask-rcnn_r50_fpn.py", "./dense_vit_small.py"]

model = dict(
    backbone=dict(_base_.dense_vit_small, _delete_=True, img_size=224, drop_path_rate=0.05),
    neck=[
        _base_.pyramid,
        dict(type="FPN", in_channels=[384, 384, 384, 384], out_channels=256, num_outs=5),
    ],
)
