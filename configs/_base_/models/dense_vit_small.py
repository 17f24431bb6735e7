"""ViT-S/16 and its pyramid for dense prediction: what the detectors and segmentors share."""

dense_vit_small = dict(
    type="mmrel.DenseViT",
    arch="deit-small",
    patch_size=16,
    out_indices=[3, 5, 7, 11],
    out_norm="none",
    drop_path_rate=0.1,
)
pyramid = dict(type="mmrel.ViTPyramid", in_channels=384, scales=(4, 2, 1, 0.5))
