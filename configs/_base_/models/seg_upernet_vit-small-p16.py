"""UperNet on a plain ViT-S/16 with a class token, as iBOT uses it on ADE20K (arXiv 2111.07832).

mmseg's UperNet base with another backbone and neck; head channels equal the embedding dimension;
one shared final norm on all four maps; inference in windows of 512 pixels with stride 341.
"""

_base_ = ["mmseg::_base_/models/upernet_mae.py", "./dense_vit_small.py"]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    pretrained=None,
    backbone=dict(
        _base_.dense_vit_small,
        _delete_=True,
        img_size=512,
        pos_interpolation="size",
        out_norm="all",
    ),
    neck=[_base_.pyramid],
    decode_head=dict(in_channels=[384, 384, 384, 384], channels=384, num_classes=150),
    auxiliary_head=dict(in_channels=384, num_classes=150),
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
