# Linear probe of a frozen ViT-S/16, as DINO and iBOT do it: one head on the class tokens of the last four blocks.
_base_ = ["./vit_small.py"]

pretrained = None
model = dict(
    type="mmrel.LinearProbeClassifier",
    backbone=dict(
        _base_.vit_small,
        drop_path_rate=0.0,
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
    num_classes=1000,
    n_last_blocks=4,
    avgpool=0,
)
