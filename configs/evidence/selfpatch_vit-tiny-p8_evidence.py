# SelfPatch, a ViT of 4 blocks with 8-pixel patches, on the bundled scenes: an arm of docs/evidence.md.
# Paper:    Patch-level Representation Learning for Self-supervised Vision Transformers, CVPR 2022, arXiv 2206.07990;
#           shrunk.
# Command:  python benchmarks/evidence.py run selfpatch
# Hardware: one CPU core.
# Expected: the tables of docs/evidence.md; there is no published number.
_base_ = ["../_base_/evidence.py"]

model = dict(
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
        in_channels=_base_.embed_dims,
        num_heads=4,
        out_channels=_base_.prototypes,
        patch_out_channels=_base_.prototypes,
        hidden_channels=256,
        bottleneck_channels=64,
    ),
    head=_base_.distillation,
    patch_head=dict(_base_.distillation, type="mmrel.PatchDistillationHead"),
)
