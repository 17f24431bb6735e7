"""UperNet, small ViT with 8-pixel patches, on the bundled scenes: a few minutes on one CPU core.

Paper: none; a shrunk form of the UperNet recipes for ADE20K, to compare backbones on one budget.
Command: tools/train.py CONFIG --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
    (without the option, or with None: random weights; for a backbone without class token and final
    norm, as SelfPatch's, also model.backbone.with_cls_token=False model.backbone.out_norm=none)
Hardware: one CPU core or one GPU.
Expected: see docs/evidence.md; there is no published number.
"""

_base_ = [
    "../_base_/plugin.py",
    "mmseg::_base_/models/upernet_mae.py",
    "../_base_/models/vit_scenes.py",
    "../_base_/datasets/seg_scenes.py",
    "../_base_/schedules/scenes_adamw.py",
    "../_base_/seg_runtime.py",
]

num_classes = 15
norm_cfg = dict(type="BN", requires_grad=True)

model = dict(
    data_preprocessor=dict(size=None, size_divisor=32),
    pretrained=None,
    backbone=dict(_base_.dense_vit_scenes, _delete_=True),
    neck=[_base_.pyramid_scenes],
    decode_head=dict(
        in_channels=[128, 128, 128, 128],
        channels=48,
        num_classes=num_classes,
        norm_cfg=norm_cfg,
    ),
    auxiliary_head=dict(in_channels=128, channels=32, num_classes=num_classes, norm_cfg=norm_cfg),
)
default_hooks = _base_.scenes_hooks
log_processor = dict(window_size=20, by_epoch=False)
