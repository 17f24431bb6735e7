# SERE in the evidence, on any base: model = dict(**_base_.sere, _delete_=True, base=_base_.model).
sere = dict(
    type="mmrel.SERE",
    alpha=1.5,
    beta=0.5,
    num_heads=1,
    overlap_side=5,
    spatial_temperature=0.1,
    local=False,
    norm_cfg=dict(type="BN"),
)
