# Fine-tuning of the ViT-S/16 that DINO, iBOT and SERE train: class token after the final norm, linear head, mixup or
# cutmix for each batch, label smoothing. ViT-B: backbone.arch='deit-base' and head.in_channels=768.
_base_ = ["./vit_small.py"]

pretrained = None
model = dict(
    type="ImageClassifier",
    backbone=dict(
        _base_.vit_small,
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
    neck=dict(type="mmrel.TokenFeature", feature="cls"),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=384,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)
