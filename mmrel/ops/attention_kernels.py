"""Attention kernels with their log-sum-exp, and when the relation losses use them.

torch's fused attention computes ``softmax(a Q K^T) V`` without writing the map to memory. The public function hides the
log-sum-exp of the rows, which the relation losses need, hence the kernels are called by name: flash attention on CUDA,
its counterpart on a CPU in tests.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

SHIFT_PARTS = 2
"""Components that the relation losses add to vectors, see :mod:`mmrel.ops.relation_attention`."""
_MAX_WIDTH, _MULTIPLE = 256, 8  # of flash attention
_forced: torch.dtype | None = None


def kernel_dtype(tensor: Tensor, *widths: int) -> torch.dtype | None:
    """The dtype in which attention kernels compute the relations of a tensor, or ``None`` for plain arithmetic.

    Args:
        tensor: tokens.
        widths: of the vectors whose inner products make the relations.

    Kernels are used under autocast on an NVIDIA GPU with flash attention (compute capability 8.0 or later). Float64
    tensors, training without autocast, older GPUs, a CPU and widths above 254 take plain arithmetic. The dtype is
    float16 also where autocast says bfloat16: tokens behind batch norm and ReLU stay far within its range, and its 11
    significant bits, as many as TensorFloat-32 has, leave an eighth of bfloat16's error.
    """
    if padded_width(max(widths)) > _MAX_WIDTH:
        return None
    if _forced is not None:
        return _forced
    if tensor.device.type != "cuda" or tensor.dtype == torch.float64:
        return None
    if not (_HAS_FLASH and torch.is_autocast_enabled("cuda")):
        return None
    recent = torch.cuda.get_device_properties(tensor.device).major >= 8
    return torch.float16 if recent else None


@contextmanager
def forced_kernels(dtype: torch.dtype) -> Iterator[None]:
    """Compute relations with attention kernels in this dtype on any device, for tests and comparisons."""
    global _forced
    before, _forced = _forced, dtype
    try:
        yield
    finally:
        _forced = before


def padded_width(width: int) -> int:
    """The next width that the kernels take without a copy of their own and that has room for the shift."""
    return -(-(width + SHIFT_PARTS) // _MULTIPLE) * _MULTIPLE


def attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """``softmax(scale * Q K^T) V``, and the log-sum-exp of the rows of ``scale * Q K^T``.

    Args:
        query: ``(B, heads, I, F)`` in half precision on CUDA; F at most 256 and a multiple of 8.
        key: of the same shape.
        value: of the same shape.
        scale: factor of the inner products.

    Returns:
        ``(B, heads, I, F)`` in the dtype of ``query``, and ``(B, heads, I)`` in float32 (float64 for float64).
    """
    if query.device.type == "cuda":
        kernel = torch.ops.aten._scaled_dot_product_flash_attention.default
    else:
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    result = kernel(query, key, value, 0.0, False, scale=scale)
    return result[0], result[1]


def _built_with_flash() -> bool:
    """Whether this torch, if it is one for NVIDIA's GPUs, has the kernels; few builds lack them."""
    known = getattr(torch.backends.cuda, "is_flash_attention_available", None)
    lacks = torch.backends.cuda.is_built() and known is not None and not known()
    return torch.version.hip is None and not lacks


_HAS_FLASH = _built_with_flash()

__all__ = ["SHIFT_PARTS", "attention", "forced_kernels", "kernel_dtype", "padded_width"]
