# SERE on MoCo v3, a ViT of 4 blocks with 8-pixel patches, on the bundled scenes: an arm of docs/evidence.md.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184;
#           shrunk, with weights and a temperature of its own: those of the paper leave the spatial relation without
#           effect in a run this short.
# Command:  python benchmarks/evidence.py run mocov3-sere
# Hardware: one CPU core.
# Expected: the tables of docs/evidence.md; there is no published number.
_base_ = ["./mocov3_vit-tiny-p8_evidence.py", "../_base_/evidence_sere.py"]

model = dict(**_base_.sere, _delete_=True, base=_base_.model)
optim_wrapper = dict(paramwise_cfg=dict(decay_rule="sere"))
