# ViT-S/16 for images of 224 pixels, as all student-teacher methods here but MoCo v3 train it.
vit_small = dict(
    type="mmrel.ViT",
    arch="deit-small",
    img_size=224,
    patch_size=16,
    drop_path_rate=0.1,
    # For memory: 'mlp' takes less, 'block' least. None of them changes a result.
    recompute="pointwise",
    bf16_residual=True,
)
