# DINO, a ViT of 4 blocks with 8-pixel patches, on the bundled scenes: an arm of docs/evidence.md.
# Paper:    Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv 2104.14294; shrunk.
# Command:  python benchmarks/evidence.py run dino
# Hardware: one CPU core.
# Expected: the tables of docs/evidence.md; there is no published number.
_base_ = ["../_base_/evidence.py"]

model = dict(
    type="mmrel.DINO",
    backbone=dict(type="mmrel.ViT", **_base_.vit_scenes, img_size=48),
    neck=_base_.projection,
    head=_base_.distillation,
)
