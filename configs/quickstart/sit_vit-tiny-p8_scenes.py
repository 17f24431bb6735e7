# SiT, a ViT of 4 blocks with 8-pixel patches, on the bundled scenes: what `make quickstart METHOD=sit` runs.
# Paper:    SiT: Self-supervised vIsion Transformer, arXiv 2104.03602, version 3; shrunk: crops of 48 pixels, a narrow
#           projection, mild colours, and a teacher that follows much faster (0.95), since there are only some 500
#           steps; so few of them are better spent with alpha 1.
# Command:  python tools/train.py configs/quickstart/sit_vit-tiny-p8_scenes.py
#           after python tools/make_scenes.py data/scenes
# Hardware: 2 CPU cores, or one GPU.
# Expected: see the quickstart's report; there is no published number.
_base_ = ["./ibot-sere_vit-tiny-p8_scenes.py"]

embed_dims = 128
data_preprocessor = dict(type="mmrel.CorruptingViewPreprocessor")
model = dict(
    _delete_=True,
    type="mmrel.SiT",
    backbone=dict(type="mmrel.ViT", **_base_.vit_scenes, img_size=48),
    neck=dict(
        type="mmrel.ContrastiveProjection",
        in_channels=embed_dims,
        hidden_channels=512,
        out_channels=64,
        activations=("ReLU", "GELU"),
        predictor=False,
        bias=True,
        joint_views=True,
        norm_cfg=dict(type="BN1d"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
    decoder=dict(type="mmrel.PixelDecoder", in_channels=embed_dims, patch_size=8),
    head=dict(type="mmrel.ContrastiveHead", temperature=0.2),
    alpha=1.0,
)

_base_.train_pipeline[1].update(num_local=0)
_base_.train_pipeline[3] = dict(type="mmrel.DrawCorruption", align=1)
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=4e-3), paramwise_cfg=dict(decay_rule="dino"))
_base_.param_scheduler[1].end = 0.1
train_cfg = dict(max_epochs=16)
default_hooks = dict(last_layer_freeze=dict(epochs=0))  # there are no prototypes
