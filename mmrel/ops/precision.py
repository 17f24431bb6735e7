"""Arithmetic in float32 or better, whatever autocast says."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def upcast(tensor: Tensor) -> Tensor:
    """The tensor in float64 if it is float64, otherwise in float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def has_autocast(device: str) -> bool:
    """Whether autocast exists for a type of device; torch.compile before 2.14 cannot trace torch's own function."""
    return torch.amp.is_autocast_available(device)


def without_autocast(tensor: Tensor) -> AbstractContextManager:
    """A context in which autocast is off on the tensor's device."""
    device = tensor.device.type
    if has_autocast(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()
