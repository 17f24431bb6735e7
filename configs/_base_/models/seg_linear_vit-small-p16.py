"""One linear layer on a frozen plain ViT-S/16: iBOT's dense linear probe on ADE20K (arXiv 2111.07832).

mmseg's FCN base without convolutions: four maps of stride 16, each through the one final norm, concatenated and
classified by a 1x1 convolution. Inference in windows of 512 pixels with stride 341.
"""

_base_ = ["mmseg::_base_/models/fcn_r50-d8.py", "./dense_vit_small.py"]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    pretrained=None,
    backbone=dict(
        _base_.dense_vit_small,
        _delete_=True,
        img_size=512,
        pos_interpolation="size",
        out_norm="all",
        frozen_stages=12,
    ),
    decode_head=dict(
        in_channels=[384, 384, 384, 384],
        in_index=[0, 1, 2, 3],
        input_transform="resize_concat",
        channels=4 * 384,
        num_convs=0,
        kernel_size=1,
        concat_input=False,
        dropout_ratio=0,
        num_classes=150,
    ),
    auxiliary_head=None,
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
