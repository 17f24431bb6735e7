"""Stochastic depth folded into the residual addition (Huang et al., ECCV 2016, arXiv 1603.09382).

mmcv divides the branch by the probability of keeping it, multiplies by 0 or 1 and then adds: three passes over the
branch, six with the backward pass. Here each sample has one divisor, the probability or infinity, and addition and
division are one pass. Draws, values and gradients are mmcv's, bit for bit.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmrel.ops.precision import upcast, without_autocast


def drop_path_divisors(tokens: Tensor, rate: float, count: int) -> tuple[Tensor, ...]:
    """Draw which samples keep their branch, for several branches in a row.

    Args:
        tokens: ``(n, ...)``, for the number of samples, the dtype (float32 for half precision) and the device.
        rate: probability of losing a branch, in (0, 1).
        count: number of branches.

    Returns:
        ``count`` tensors ``(n, 1, ...)``: ``1 - rate`` where the branch is kept, infinity where it is lost.
    """
    keep = 1 - rate
    shape = (count, len(tokens)) + (1,) * (tokens.ndim - 1)
    draws = torch.rand(shape, dtype=upcast(tokens[:0]).dtype, device=tokens.device)
    return (keep / draws.add_(keep).floor_()).unbind(0)


def add_branch(tokens: Tensor, branch: Tensor, divisor: Tensor | None) -> Tensor:
    """``tokens + branch / divisor``.

    Args:
        tokens: the residual stream ``(n, ...)``.
        branch: of the same shape, finite; it may have a lower precision.
        divisor: of :func:`drop_path_divisors`; ``None``: every branch is kept as it is.

    Returns:
        ``(n, ...)`` in the precision of ``tokens``.
    """
    return tokens + branch if divisor is None else _AddDivided.apply(tokens, branch, divisor)


class _AddDivided(torch.autograd.Function):
    """torch's own ``addcdiv`` would multiply gradients by the reciprocal, which rounds differently."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, branch: Tensor, divisor: Tensor) -> Tensor:
        ctx.save_for_backward(divisor)
        ctx.dtype = branch.dtype
        # Autocast would copy the branch into the stream's precision first.
        with without_autocast(tokens):
            if tokens.dtype == divisor.dtype:
                return torch.addcdiv(tokens, branch, divisor)
            if torch.compiler.is_compiling():
                return torch.addcdiv(upcast(tokens), branch, divisor).to(tokens.dtype)
            return torch.addcdiv(tokens, branch, divisor, out=torch.empty_like(tokens))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (divisor,) = ctx.saved_tensors
        return gradient, divide_into(gradient, divisor, ctx.dtype), None


def divide_into(tensor: Tensor, divisor: Tensor, dtype: torch.dtype) -> Tensor:
    """``tensor / divisor`` in another precision, without a copy in between."""
    if tensor.dtype == divisor.dtype == dtype or torch.compiler.is_compiling():
        return (tensor / divisor).to(dtype)
    return torch.div(tensor, divisor, out=torch.empty_like(tensor, dtype=dtype))
