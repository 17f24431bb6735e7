# Fine-tuning of what RelViT pretrained: class token, linear head with torch's own initialisation. The positions, which
# the pretraining left as they were drawn, are added and trained from now on.
_base_ = ["./vit_small.py"]

pretrained = None
model = dict(
    type="ImageClassifier",
    backbone=dict(
        _base_.vit_small,
        img_size=32,
        patch_size=4,
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
    neck=dict(type="mmrel.TokenFeature", feature="cls"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=384, init_cfg=None, topk=(1, 5)),
)
