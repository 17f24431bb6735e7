"""How much memory the parts of a training step take.

Parameters, gradients and moments are counted, of a sharded model what this process holds of them. What the backward
pass needs of the blocks is estimated from the batch's shapes; a step has other tensors too, and the allocator its gaps.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmrel.utils.device import unwrap_model
from mmrel.utils.sharding import local_parts

KEPT = {
    "fp32": {"none": 64, "pointwise": 44, "mlp": 24, "block": 4},
    "bf16": {"none": 32, "pointwise": 22, "mlp": 12, "block": 4},
    "fp16": {"none": 36, "pointwise": 26, "mlp": 16, "block": 4},
}
"""Bytes per token, channel and block that the backward pass of a ViT needs, by precision and ``recompute``."""


class MemoryGroup(NamedTuple):
    """Some of the tensors of a step.

    Attributes:
        name: what they are.
        bytes: how much of this process's memory they take.
        estimated: not counted, but estimated.
    """

    name: str
    bytes: int
    estimated: bool


def memory_groups(runner: Any, batch: Any = None) -> list[MemoryGroup]:
    """The parts of a training step, the largest first.

    Args:
        runner: in training.
        batch: what the loader gave; ``None``: leave the activations out.
    """
    model = unwrap_model(runner)
    own = _bytes(p for p in model.parameters() if p.requires_grad)
    teacher = _bytes(model.teacher.parameters()) if hasattr(model, "teacher") else 0
    early = getattr(model, "early_teacher", None)
    anchor = 0 if early is None else _bytes(early.parameters())
    frozen = _bytes(p for p in model.parameters() if not p.requires_grad) - teacher - anchor
    groups = [
        MemoryGroup("parameters", own, False),
        MemoryGroup("their gradients", own, False),
        MemoryGroup("the teacher", teacher, False),
        MemoryGroup("the early teacher", anchor, False),
        MemoryGroup("frozen parameters", frozen, False),
        *_moments(runner.optim_wrapper, own),
        *_activations(runner, model, batch),
    ]
    return sorted((g for g in groups if g.bytes), key=lambda group: group.bytes, reverse=True)


def _moments(optim_wrapper: Any, own: int) -> Iterator[MemoryGroup]:
    wrappers = optim_wrapper.values() if hasattr(optim_wrapper, "values") else [optim_wrapper]
    for optimizer in (wrapper.optimizer for wrapper in wrappers):
        values = [value for state in optimizer.state.values() for value in state.values()]
        counted = _bytes(value for value in values if isinstance(value, Tensor))
        # Adam makes its two at the first step, which this one may be.
        coming = 2 * own if "Adam" in type(optimizer).__name__ and not counted else 0
        yield MemoryGroup("the optimizer's moments", counted or coming, not counted)


def recompute_of(model: nn.Module) -> str | None:
    """How much the model's backbone computes again in the backward pass, if it can."""
    backbone: Any = getattr(model, "backbone", model)
    found = (getattr(module, "recompute", None) for module in backbone.modules())
    return next((value for value in found if isinstance(value, str)), None)


def _activations(runner: Any, model: Any, batch: Any) -> Iterator[MemoryGroup]:
    """One group per size of crops, of networks whose blocks keep what a ViT's keep."""
    backbone = getattr(model, "backbone", None)
    patch, width = getattr(backbone, "patch_size", None), getattr(backbone, "embed_dims", None)
    if not isinstance(patch, int) or not isinstance(width, int):
        return
    kept = KEPT[getattr(runner.optim_wrapper, "precision", "fp32")]
    each = kept[recompute_of(model) or "none"]
    blocks = len(getattr(backbone, "layers", ()))
    for (height, cols), count in crop_sizes(batch).items():
        tokens = count * ((height // patch) * (cols // patch) + 1)
        name = f"activations of {count} crops of {height}x{cols}"
        yield MemoryGroup(name, tokens * width * blocks * each, True)


def crop_sizes(batch: Any) -> Counter[tuple[int, int]]:
    """Numbers of images by ``(height, width)`` in what a loader gives: tensors ``(..., 3, H, W)`` in any structure."""
    found: Counter[tuple[int, int]] = Counter()
    if isinstance(batch, Tensor):
        if batch.ndim >= 3 and batch.shape[-3] == 3:
            height, width = batch.shape[-2:]
            found[height, width] = batch[..., 0, 0, 0].numel()
    elif isinstance(batch, Mapping):
        found.update(crop_sizes(list(batch.values())))
    elif isinstance(batch, list | tuple):
        for item in batch:
            found.update(crop_sizes(item))
    return found


@torch.no_grad()
def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(part.numel() * part.element_size() for part in local_parts(tensors))
