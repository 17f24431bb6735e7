"""The 40k schedule for a linear layer on a frozen backbone: one rate, weight decay on all that is trained."""

_base_ = "seg_adamw-40k.py"

optim_wrapper = dict(
    _delete_=True,
    type="AmpOptimWrapper",
    optimizer=dict(type="AdamW", lr=3e-5, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=None,
)
