# SelfPatch, a ViT of 4 blocks with 8-pixel patches, on the bundled scenes: for `make quickstart METHOD=selfpatch`.
# Paper:    Patch-level Representation Learning for Self-supervised Vision Transformers, CVPR 2022, arXiv 2206.07990;
#           shrunk: crops of 48 and 24 pixels, so 6 x 6 and 3 x 3 patches, 4 local ones, 512 prototypes, mild colours,
#           and a teacher that follows much faster (0.95), since there are only some 300 steps.
# Command:  python tools/train.py configs/quickstart/selfpatch_vit-tiny-p8_scenes.py
#           after python tools/make_scenes.py data/scenes
# Hardware: 2 CPU cores, or one GPU.
# Expected: see the quickstart's report; there is no published number.
_base_ = ["./ibot-sere_vit-tiny-p8_scenes.py"]

embed_dims = 128
prototypes = 512
model = dict(
    _delete_=True,
    type="mmrel.SelfPatch",
    backbone=dict(
        type="mmrel.ViT",
        **_base_.vit_scenes,
        img_size=48,
        with_cls_token=False,
        final_norm=False,
    ),
    neck=dict(
        type="mmrel.NeighbourAggregation",
        in_channels=embed_dims,
        num_heads=4,
        out_channels=prototypes,
        patch_out_channels=prototypes,
        hidden_channels=256,
        bottleneck_channels=64,
    ),
    head=dict(type="mmrel.DistillationHead", **_base_.distillation),
    patch_head=dict(type="mmrel.PatchDistillationHead", **_base_.distillation),
)

del _base_.train_dataloader.dataset.pipeline[3]  # nothing is masked
optim_wrapper = dict(paramwise_cfg=dict(decay_rule="dino"))
