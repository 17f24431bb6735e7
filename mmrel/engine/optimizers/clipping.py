"""Clipping without a wait for the device: by the norm of each tensor, as DINO does, or of all together."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mmrel.ops.scaling import scale_each
from mmrel.utils.sharding import local_parts, norms_of_whole


def clip_per_tensor(gradients: list[Tensor], max_norm: float) -> Tensor:
    """Scale each gradient by ``min(1, max_norm / (its L2 norm + 1e-6))``, in place.

    ``clip_gradients`` of DINO's public code (arXiv 2104.14294); each tensor by itself, in contrast to a clip by the
    global norm.

    Args:
        gradients: P tensors on one device, whole or all of them sharded.
        max_norm: the limit; 0 or less measures only.

    Returns:
        ``(P,)``, the norms before clipping.
    """
    # No number leaves the device: the coefficient of a tensor that needs no clipping is 1, which
    # multiplies exactly.
    parts, norms = _measured(gradients)
    if max_norm > 0:
        coefficients = (max_norm / (norms + 1e-6)).clamp(max=1.0)
        scale_each(parts, coefficients)
    return norms


def clip_together(gradients: list[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients by ``min(1, max_norm / (the L2 norm of all together + 1e-6))``, in place.

    The same as ``torch.nn.utils.clip_grad_norm_``, to the bit; the arguments and what is returned are
    :func:`clip_per_tensor`'s.
    """
    parts, norms = _measured(gradients)
    if max_norm > 0:
        total = torch.linalg.vector_norm(norms)
        torch._foreach_mul_(parts, (max_norm / (total + 1e-6)).clamp(max=1.0))
    return norms


def _measured(gradients: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """What this process holds of each gradient, and the norms ``(P,)`` of the whole ones."""
    parts = local_parts(gradients)
    return parts, norms_of_whole(torch.stack(torch._foreach_norm(parts)), gradients[0])


CLIPPERS = {"tensor": clip_per_tensor, "global": clip_together}


def clipper_of(clip_grad: dict[str, Any] | None) -> Callable[[list[Tensor]], Tensor]:
    """What clips, and measures, a list of gradients by these settings.

    Args:
        clip_grad: ``dict(max_norm=..., scope="tensor" | "global")``; ``None`` only measures.

    Raises:
        ValueError: other settings.
    """
    settings: dict[str, Any] = {"max_norm": 0.0, "scope": "tensor"} | dict(clip_grad or {})
    scope, max_norm = settings["scope"], settings["max_norm"]
    known = set(settings) == {"max_norm", "scope"} and (not clip_grad or "max_norm" in clip_grad)
    if not known or scope not in CLIPPERS or max_norm < 0:
        raise ValueError(
            f"clip_grad must be dict(max_norm=<number >= 0>), the L2 limit of each parameter tensor, or "
            f"dict(max_norm=..., scope='global') to clip by the global norm of all of them, but is "
            f"{dict(clip_grad or {})!r}."
        )
    return partial(CLIPPERS[scope], max_norm=float(max_norm))
