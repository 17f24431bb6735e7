"""UperNet, small ViT with 8-pixel patches, on the bundled scenes: a few minutes on one CPU core.

Paper: none; a shrunk form of the UperNet recipes for ADE20K, to compare backbones on one budget.
Command: tools/train.py CONFIG --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
    (without the option, or with None: random weights; for a backbone without class token and final
    norm, as SelfPatch's, also model.backbone.with_cls_token=False model.backbone.out_norm=none)
Hardware: one CPU core or one GPU.
Expected: see the quickstart's report; there is no published number.
"""

_base_ = [
    "../_base_/plugin.py",
    "mmseg::_base_/models/upernet_mae.py",
    "../_base_/models/vit_scenes.py",
    "../_base_/datasets/seg_scenes.py",
    "../_base_/schedules/scenes_adamw.py",
    "../_base_/seg_runtime.py",
]

pretrained = None
num_classes = 15
norm_cfg = dict(type="BN", requires_grad=True)

model = dict(
    data_preprocessor=dict(size=None, size_divisor=32),
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type="mmrel.DenseViT",
        **_base_.vit_scenes,
        img_size=128,
        out_indices=[0, 1, 2, 3],
        out_norm="all",
        pos_interp="dino",
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
    neck=[
        dict(
            type="mmrel.ViTPyramid",
            in_channels=128,
            scales=(2, 1, 0.5, 0.25),
            norm_cfg=dict(type="BN"),
        )
    ],
    decode_head=dict(
        in_channels=[128, 128, 128, 128],
        channels=48,
        num_classes=num_classes,
        norm_cfg=norm_cfg,
    ),
    auxiliary_head=dict(in_channels=128, channels=32, num_classes=num_classes, norm_cfg=norm_cfg),
)
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=20, log_metric_by_epoch=False),
    checkpoint=dict(type="mmrel.AtomicCheckpointHook", by_epoch=False, interval=200),
    preemption=dict(type="mmrel.PreemptionHook"),
)
log_processor = dict(window_size=20, by_epoch=False)
