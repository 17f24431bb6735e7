"""The small ViT of the bundled scenes: the one definition that pretraining and downstream share.

Width 128, 4 blocks, 4 heads, patch 8: 0.83 million parameters. Pretrained on 64-pixel crops.
"""

vit_scenes = dict(
    arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
    patch_size=8,
)
