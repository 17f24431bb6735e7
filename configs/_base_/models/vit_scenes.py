"""The small ViT of the bundled scenes: the one definition that pretraining and downstream share.

Width 128, 4 blocks, 4 heads, patch 8: 0.83 million parameters. Pretrained on 64-pixel crops.
"""

compile = False  # on a GPU too: these runs take less time than compiling does

vit_scenes = dict(
    arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
    patch_size=8,
)
dense_vit_scenes = dict(
    type="mmrel.DenseViT",
    **vit_scenes,
    img_size=128,
    out_indices=[0, 1, 2, 3],
    out_norm="all",
    pos_interpolation="dino",
    init_cfg=dict(type="Pretrained", checkpoint=None, prefix="backbone."),
)
pyramid_scenes = dict(
    type="mmrel.ViTPyramid",
    in_channels=128,
    scales=(2, 1, 0.5, 0.25),
    norm_cfg=dict(type="BN"),
)
scenes_hooks = dict(
    logger=dict(type="LoggerHook", interval=20, log_metric_by_epoch=False),
    checkpoint=dict(type="mmrel.AtomicCheckpointHook", by_epoch=False, interval=200),
    preemption=dict(type="mmrel.PreemptionHook"),
    memory_format=dict(type="mmrel.ChannelsLastHook"),
)
