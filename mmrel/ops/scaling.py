"""Multiplying many tensors, each by its own factor, without telling the host a factor."""

import torch
from torch import Tensor

from mmrel.ops.kernels import current_device, define_operator, missing_for_kernels
from mmrel.ops.tensor_lists import CHUNK, SPAN, addresses, chunks, fits


def scale_each(tensors: list[Tensor], factors: Tensor) -> None:
    """Multiply in place.

    torch's ``_foreach_mul_`` takes one launch per tensor where the factors are numbers on the device. On a GPU with
    Triton, float32 tensors take one launch together, with the same results to the bit.

    Args:
        tensors: P dense tensors on one device.
        factors: float32 ``(P,)``, on that device.
    """
    if not tensors:
        return
    if missing_for_kernels(factors.device) or not all(map(fits, tensors)):
        torch._foreach_mul_(tensors, list(factors.unbind()))
        return
    torch.ops.mmrel.scale_each(tensors, factors.contiguous())


def _scale_each(tensors: list[Tensor], factors: Tensor) -> None:
    from mmrel.ops import scaling_kernels

    owners, starts, sizes = chunks(tensors)
    with current_device(factors):
        scaling_kernels.scale[(len(owners),)](
            *(addresses(tensors), sizes, factors, owners, starts), chunk=CHUNK, span=SPAN
        )


define_operator("scale_each(Tensor(a!)[] tensors, Tensor factors) -> ()", _scale_each)
