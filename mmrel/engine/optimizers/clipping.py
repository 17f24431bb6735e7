"""DINO's clipping: each parameter tensor by its own norm (public code of arXiv 2104.14294)."""

from typing import Any

import torch
from torch import Tensor

from mmrel.utils.sharding import local_parts, norms_of_whole


def clip_per_tensor(gradients: list[Tensor], max_norm: float) -> Tensor:
    """Scale each gradient by ``min(1, max_norm / (its L2 norm + 1e-6))``, in place.

    DINO's ``clip_gradients``; each tensor by itself, in contrast to a clip by the global norm.

    Args:
        gradients: P tensors on one device, whole or all of them sharded.
        max_norm: the limit; 0 or less measures only.

    Returns:
        ``(P,)``, the norms before clipping.
    """
    # One kernel for all tensors, and no number leaves the device: the coefficient of a tensor that
    # needs no clipping is 1, which multiplies exactly.
    parts = local_parts(gradients)
    norms = norms_of_whole(torch.stack(torch._foreach_norm(parts)), gradients[0])
    if max_norm > 0:
        coefficients = (max_norm / (norms + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(parts, list(coefficients.unbind()))
    return norms


def limit_of(clip_grad: dict[str, Any] | None) -> float:
    """The limit, or 0 for none."""
    if not clip_grad:
        return 0.0
    if set(clip_grad) != {"max_norm"} or clip_grad["max_norm"] < 0:
        raise ValueError(
            f"clip_grad must be dict(max_norm=<number >= 0>), the L2 limit of each parameter tensor, "
            f"but is {dict(clip_grad)!r}; use MMEngine's OptimWrapper to clip by the global norm."
        )
    return float(clip_grad["max_norm"])
