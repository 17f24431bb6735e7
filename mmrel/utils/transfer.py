"""Many small tensors to a device in one transfer for which nobody waits."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

ALIGNMENT = 16
"""Bytes; a multiple of every element's size, so that a slice of the buffer can be seen as any type."""


def send_together(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copies of host tensors on a device.

    To a GPU they go as one buffer of pinned memory: a copy from memory that is not pinned makes the host wait, and
    each further copy costs a call. The buffer comes from torch's cache of pinned memory, which hands it out again
    only after the copy.

    Args:
        tensors: on the host, of any types and strides.
        device: where to.

    Returns:
        Tensors of the same types and shapes, contiguous on a GPU and the very same ones on the host.
    """
    if device.type != "cuda":
        return [tensor.to(device, non_blocking=True) for tensor in tensors]
    ends, end = [], 0
    for tensor in tensors:
        start = math.ceil(end / ALIGNMENT) * ALIGNMENT
        end = start + tensor.numel() * tensor.element_size()
        ends.append((start, end))
    buffer = torch.empty(max(1, end), dtype=torch.uint8, pin_memory=True)
    for tensor, (start, end) in zip(tensors, ends, strict=True):
        buffer[start:end].view(tensor.dtype).view(tensor.shape).copy_(tensor)
    sent = buffer.to(device, non_blocking=True)
    return [
        sent[start:end].view(tensor.dtype).view(tensor.shape)
        for tensor, (start, end) in zip(tensors, ends, strict=True)
    ]
