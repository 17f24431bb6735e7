"""Cascade Mask R-CNN on a plain ViT-S/16, as iBOT uses it on COCO (arXiv 2111.07832).

mmdet's Cascade base with box heads of 4 convolutions and 1 linear layer, SyncBN, class-specific
regression on decoded boxes and GIoU loss.
"""

_base_ = "mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py"

box_head = dict(
    type="ConvFCBBoxHead",
    num_shared_convs=4,
    num_shared_fcs=1,
    in_channels=256,
    conv_out_channels=256,
    fc_out_channels=1024,
    roi_feat_size=7,
    num_classes=80,
    reg_class_agnostic=False,
    reg_decoded_bbox=True,
    norm_cfg=dict(type="SyncBN", requires_grad=True),
    loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    loss_bbox=dict(type="GIoULoss", loss_weight=10.0),
)
box_stds = [
    [0.1, 0.1, 0.2, 0.2],
    [0.05, 0.05, 0.1, 0.1],
    [0.033, 0.033, 0.067, 0.067],
]

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmrel.DenseViT",
        arch="deit-small",
        img_size=(800, 1008),
        pos_interpolation="dino",
        load_interpolation="size",
        patch_size=16,
        out_indices=[3, 5, 7, 11],
        out_norm="none",
        with_cp=True,
        drop_path_rate=0.1,
    ),
    neck=[
        dict(type="mmrel.ViTPyramid", in_channels=384, scales=(4, 2, 1, 0.5)),
        dict(type="FPN", in_channels=[384, 384, 384, 384], out_channels=256, num_outs=5),
    ],
    roi_head=dict(
        bbox_head=[
            dict(
                **box_head,
                bbox_coder=dict(
                    type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=stds
                ),
            )
            for stds in box_stds
        ]
    ),
)
