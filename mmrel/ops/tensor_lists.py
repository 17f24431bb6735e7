"""What kernels are told that go over many tensors in one launch."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

CHUNK = 16384
"""Elements of a tensor that one program of a kernel handles."""
SPAN = 1024
"""Elements that it handles at a time."""


def fits(tensor: Tensor) -> bool:
    """Whether such kernels can go over a tensor."""
    return tensor.dtype == torch.float32 and tensor.is_contiguous()


def addresses(tensors: list[Tensor]) -> Tensor:
    """int64 ``(P,)`` on the tensors' device: where they are."""
    found = torch.tensor([tensor.data_ptr() for tensor in tensors])
    if not tensors[0].is_cuda:
        return found
    # Gradients are allocated anew in each step; from pinned memory nobody waits for the copy.
    return found.pin_memory().to(tensors[0].device, non_blocking=True)


def chunks(tensors: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """For each chunk, its tensor and its first element, int64 ``(chunks,)``; and the sizes of the tensors, ``(P,)``."""
    return _chunks(tuple(tensor.numel() for tensor in tensors), tensors[0].device)


@cache
def _chunks(sizes: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """They do not change from step to step."""
    counts = [-(-size // CHUNK) for size in sizes]
    owners = np.repeat(np.arange(len(sizes)), counts)
    starts = np.concatenate([np.arange(count) * CHUNK for count in counts])
    return (
        torch.from_numpy(owners).to(device),
        torch.from_numpy(starts).to(device),
        torch.tensor(sizes).to(device),
    )
