"""Attention in half precision on a CPU, with its backward pass in float32."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmrel.ops.precision import without_autocast

ATEN = torch.ops.aten
KERNEL = "_scaled_dot_product_flash_attention_for_cpu"


def is_slow_backward(query: Tensor) -> bool:
    """Whether torch's own backward pass would take several times as long as in float32, and ours exists."""
    return (
        query.device.type == "cpu"
        and query.dtype in (torch.bfloat16, torch.float16)
        and query.requires_grad
        and torch.is_grad_enabled()
        and hasattr(ATEN, KERNEL)
    )


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """``softmax(q k^T / sqrt(d)) v`` without dropout.

    Torch's fused attention on CPUs is as fast in bfloat16 as in float32 forward, but five times slower backward (37
    tokens, 32 channels per head, on a processor with bfloat16 instructions). What is kept for the backward pass stays
    in half precision.

    Args:
        query: ``(n, heads, T, d)``, in half precision.
        key: the same.
        value: the same.

    Returns:
        The same.
    """
    return _HalfAttention.apply(query, key, value)


class _HalfAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        forward = getattr(ATEN, KERNEL).default
        with without_autocast(query):
            wide, logsumexp = forward(query.float(), key.float(), value.float())
        mixed = wide.to(query.dtype)
        ctx.save_for_backward(query, key, value, mixed, logsumexp)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        query, key, value, mixed, logsumexp = ctx.saved_tensors
        backward = getattr(ATEN, f"{KERNEL}_backward").default
        wide = (tensor.float() for tensor in (gradient, query, key, value, mixed))
        found = backward(*wide, logsumexp, 0.0, False)
        return tuple(part.to(query.dtype) for part in found)
