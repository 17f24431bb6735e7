"""Mask R-CNN, small ViT with 8-pixel patches, on the bundled scenes: a few minutes on one CPU core.

Paper: none; a shrunk form of the Mask R-CNN recipes for COCO, to compare backbones on one budget.
Command: tools/train.py CONFIG --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
    (without the option, or with None: random weights; for a backbone without class token and final
    norm, as SelfPatch's, also model.backbone.with_cls_token=False model.backbone.out_norm=none)
Hardware: one CPU core or one GPU.
Expected: see docs/evidence.md; there is no published number.
"""

_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/models/vit_scenes.py",
    "../_base_/datasets/det_scenes.py",
    "../_base_/schedules/scenes_adamw.py",
    "../_base_/det_runtime.py",
]

num_classes = 10

model = dict(
    backbone=dict(_base_.dense_vit_scenes, _delete_=True),
    neck=[
        dict(_base_.pyramid_scenes, mode="last"),
        dict(type="FPN", in_channels=[128, 128, 128, 128], out_channels=64, num_outs=4),
    ],
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=1)),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=num_classes),
        mask_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=1)),
        mask_head=dict(num_convs=2, in_channels=64, conv_out_channels=64, num_classes=num_classes),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100), rcnn=dict(max_per_img=30)),
)
default_hooks = _base_.scenes_hooks
log_processor = dict(window_size=20, by_epoch=False)
