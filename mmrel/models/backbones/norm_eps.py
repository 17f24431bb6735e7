"""The eps of layer norms, which is in no tensor: 1e-6 in most projects, 1e-12 in many models of transformers."""

from collections.abc import Mapping
from typing import Any

from torch import nn


def eps_remark(model: nn.Module, meta: Mapping[str, Any]) -> list[str]:
    """What to say where weights were trained with layer norms of another eps than the network has; usually nothing."""
    own = next((part.eps for part in model.modules() if isinstance(part, nn.LayerNorm)), None)
    given = meta.get("norm_eps")
    if None in (own, given) or own == given:
        return []
    return [
        f"The weights were trained with layer norms of eps {given:g}, the network has {own:g}: features differ a "
        f"little. norm_cfg=dict(type='LN', eps={given:g}) in the backbone's config gives the same ones."
    ]
