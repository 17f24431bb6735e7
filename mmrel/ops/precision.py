"""Arithmetic in float32 or better, whatever autocast says."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def upcast(tensor: Tensor) -> Tensor:
    """The tensor in float64 if it is float64, otherwise in float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def without_autocast(tensor: Tensor) -> AbstractContextManager:
    """A context in which autocast is off on the tensor's device."""
    device = tensor.device.type
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()
