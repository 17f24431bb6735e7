"""Tensors of which every process holds a part, as FSDP2 makes of parameters, gradients and moments.

These are torch's ``DTensor``s. Each function takes a plain tensor too and leaves it as it is, so that one code serves
sharded and whole models, and torch's distributed tensors are imported only where there are some.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn


def is_sharded(value: Any) -> bool:
    """Whether this process holds a part of the tensor alone."""
    return hasattr(value, "to_local")


@torch.no_grad()
def local_parts(tensors: Iterable[Tensor]) -> list[Tensor]:
    """What this process holds of each tensor; it shares the memory, so writing to it writes to the tensor.

    A part may be empty: a tensor of one row lies on the first process.
    """
    return [tensor.to_local() if is_sharded(tensor) else tensor for tensor in tensors]  # type: ignore[attr-defined]


@torch.no_grad()
def whole_tensor(tensor: Tensor) -> Tensor:
    """All parts together. All processes call this, for the same tensors in the same order."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


@torch.no_grad()
def shard_like(value: Tensor, example: Tensor) -> Tensor:
    """A whole tensor, which all processes have, shared out as ``example`` is; nothing is sent."""
    if not is_sharded(example) or is_sharded(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = example.device_mesh, example.placements  # type: ignore[attr-defined]
    return distribute_tensor(value.to(example.device), mesh, placements, src_data_rank=None)


def norms_of_whole(norms: Tensor, example: Tensor) -> Tensor:
    """L2 norms of whole tensors from those of the parts, in one all-reduce.

    Args:
        norms: ``(P,)``, of this process's parts.
        example: one of the P tensors; all are shared out among the same processes.

    Returns:
        ``(P,)``, equal on all of them.
    """
    if not is_sharded(example):
        return norms
    # In float64, where the square of no float32 number overflows or vanishes.
    squares = norms.double().square()
    distributed.all_reduce(squares, group=example.device_mesh.get_group())  # type: ignore[attr-defined]
    return squares.sqrt().to(norms.dtype)


@contextmanager
def root_gathered(model: nn.Module) -> Iterator[None]:
    """Inside, parts of a sharded model can be called; all processes call them, equally often.

    A block gathers its parameters when it is called. Those outside of all blocks (embeddings, final norm, necks) do so
    when the whole model is, which calls of a part leave out.
    """
    if not hasattr(model, "unshard"):
        yield
        return
    model.unshard()  # type: ignore[operator]
    try:
        yield
    finally:
        model.reshard()  # type: ignore[operator]
