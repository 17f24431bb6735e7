"""A linear classifier of the patches of a plain ViT-S/16, as SERE is evaluated on ImageNet-S (arXiv 2206.05184).

The last map without the final norm, a new layer norm, a 1x1 convolution that starts at almost zero. 1000 is the ignored
label, also where a mask is padded, since 255 is a class. The loss is the mean over the pixels that count.
"""

_base_ = "./dense_vit_small.py"

model = dict(
    type="mmrel.PatchSegmentor",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(224, 224),
        seg_pad_val=1000,
    ),
    backbone=dict(_base_.dense_vit_small, img_size=224, out_indices=[11]),
    decode_head=dict(
        type="mmrel.PatchHead",
        in_channels=384,
        num_classes=920,
        ignore_index=1000,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
    max_side=1000,
)
