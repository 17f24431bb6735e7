"""UperNet on a plain ViT-S/16 with a class token, as iBOT uses it on ADE20K (arXiv 2111.07832).

mmseg's UperNet base with another backbone and neck; head channels equal the embedding dimension;
one shared final norm on all four maps; inference in windows of 512 pixels with stride 341.
"""

_base_ = "mmseg::_base_/models/upernet_mae.py"

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type="mmrel.DenseViT",
        arch="deit-small",
        img_size=512,
        pos_interpolation="size",
        patch_size=16,
        out_indices=[3, 5, 7, 11],
        out_norm="all",
        drop_path_rate=0.1,
    ),
    neck=[dict(type="mmrel.ViTPyramid", in_channels=384, scales=(4, 2, 1, 0.5))],
    decode_head=dict(in_channels=[384, 384, 384, 384], channels=384, num_classes=150),
    auxiliary_head=dict(in_channels=384, num_classes=150),
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
