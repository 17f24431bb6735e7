# Fine-tuning of SiT's ViT-S/16: class token and mean patch token, a layer of 384 channels, the classes. For the plain
# linear head: --cfg-options model.neck.feature=cls model.head.type=LinearClsHead.
_base_ = ["./vit_small.py"]

pretrained = None
model = dict(
    type="ImageClassifier",
    backbone=dict(
        _base_.vit_small,
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
    neck=dict(type="mmrel.TokenFeature", feature="cls+avg"),
    head=dict(
        type="mmrel.SiTClsHead",
        num_classes=1000,
        in_channels=384,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)
