# SERE on MoCo v3, a ViT of 4 blocks with 8-pixel patches, on the bundled scenes: what `make quickstart` runs.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184;
#           shrunk, and with a relation that is heavier and sharper than the paper's (alpha 1.5 and 0.2, spatial
#           temperature 0.1 and 0.5): with the paper's it has no effect in a run this short, see docs/evidence.md, whose
#           arm mocov3-sere this is.
# Command:  python tools/train.py configs/quickstart/mocov3-sere_vit-tiny-p8_scenes.py
#           after python tools/make_scenes.py data/scenes
# Hardware: 2 CPU cores, or one GPU.
# Expected: see the quickstart's report; there is no published number.
_base_ = ["../evidence/mocov3-sere_vit-tiny-p8_evidence.py"]

train_cfg = dict(max_epochs=10)
default_hooks = dict(
    runtime_info=dict(interval=10),
    logger=dict(interval=10),
    checkpoint=dict(max_keep_ckpts=1),
    knn=dict(interval=5),
)
