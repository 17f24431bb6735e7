# RelViT, a ViT of 4 blocks with 8-pixel patches, on the bundled scenes: an arm of docs/evidence.md. It takes one crop
# of an image, of 64 pixels: nearly as many patches as the other arms' two crops of 48 have.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; shrunk.
# Command:  python benchmarks/evidence.py run relvit
# Hardware: one CPU core.
# Expected: the tables of docs/evidence.md; there is no published number.
_base_ = ["../quickstart/relvit_vit-tiny-p8_scenes.py"]

train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=1e-3), precision="bf16")
train_cfg = dict(max_epochs=3, val_interval=3)
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(
    runtime_info=dict(interval=25),
    logger=dict(interval=25),
    checkpoint=dict(interval=1, max_keep_ckpts=-1),
)
