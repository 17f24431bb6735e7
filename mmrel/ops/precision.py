"""Arithmetic in float32 or better, whatever autocast says."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def upcast(tensor: Tensor) -> Tensor:
    """The tensor in float64 if it is float64, otherwise in float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def for_product(tensor: Tensor) -> Tensor:
    """The tensor as a matrix product under autocast takes it; cast once for several products."""
    device = tensor.device.type
    if tensor.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return tensor
    return tensor.to(torch.get_autocast_dtype(device))


def without_autocast(tensor: Tensor) -> AbstractContextManager:
    """A context in which autocast is off on the tensor's device."""
    device = tensor.device.type
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()
