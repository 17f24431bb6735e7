"""What the schedules with a labelled task exempt from weight decay: vectors, positions and the class token."""

exempt_tokens = {".pos_embed": dict(decay_mult=0.0), ".cls_token": dict(decay_mult=0.0)}
exempt = dict(
    norm_decay_mult=0.0,
    bias_decay_mult=0.0,
    flat_decay_mult=0.0,
    custom_keys=exempt_tokens,
)
