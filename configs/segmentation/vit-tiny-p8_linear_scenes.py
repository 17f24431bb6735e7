"""One linear layer on a frozen small ViT with 8-pixel patches, on the bundled scenes: what the quickstart runs.

Paper: none; the dense linear probe of iBOT (arXiv 2111.07832) in small, on the last block's patches.
Command: tools/train.py CONFIG --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
    (without the option, or with None: random weights; for a backbone without class token and final
    norm, as SelfPatch's, also model.backbone.with_cls_token=False model.backbone.out_norm=none)
Hardware: one CPU core or one GPU.
Expected: see the quickstart's report; there is no published number.
"""

_base_ = [
    "../_base_/plugin.py",
    "mmseg::_base_/models/fcn_r50-d8.py",
    "../_base_/models/vit_scenes.py",
    "../_base_/datasets/seg_scenes.py",
    "../_base_/schedules/scenes_adamw.py",
    "../_base_/seg_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=None, size_divisor=32),
    pretrained=None,
    backbone=dict(_base_.dense_vit_scenes, _delete_=True, out_indices=[3], frozen_stages=4),
    decode_head=dict(
        in_channels=128,
        in_index=0,
        channels=128,
        num_convs=0,
        kernel_size=1,
        concat_input=False,
        dropout_ratio=0,
        num_classes=15,
    ),
    auxiliary_head=None,
)
optim_wrapper = dict(
    optimizer=dict(lr=3e-2),
    constructor="DefaultOptimWrapperConstructor",  # a frozen backbone has no rates to decay
    paramwise_cfg=dict(_delete_=True, bias_decay_mult=0.0),
)
default_hooks = _base_.scenes_hooks
log_processor = dict(window_size=20, by_epoch=False)
