# iBOT, a ViT of 4 blocks with 8-pixel patches, on the bundled scenes: an arm of docs/evidence.md.
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022, arXiv 2111.07832; shrunk.
# Command:  python benchmarks/evidence.py run ibot
# Hardware: one CPU core.
# Expected: the tables of docs/evidence.md; there is no published number.
_base_ = ["../_base_/evidence.py"]

model = dict(
    type="mmrel.IBOT",
    backbone=dict(type="mmrel.ViT", **_base_.vit_scenes, img_size=48, mask_token=True),
    neck=dict(_base_.projection, patches=True),
    head=_base_.distillation,
    patch_head=dict(_base_.distillation, type="mmrel.MaskedDistillationHead"),
)
mask = dict(type="mmrel.BlockMask", patch_size=8, ratios=(0.4,), spreads=(0.2,))
train_dataloader = dict(
    dataset=dict(pipeline=[_base_.decode, _base_.crops, _base_.colors, mask, _base_.pack])
)
