"""Whether everything that a checkpoint would hold is finite."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mmrel.utils.sharding import local_parts


def nonfinite_state(
    model: nn.Module, optim_wrapper: Any, allowed: set[str] | None = None
) -> list[str]:
    """The weights, buffers and optimizer moments with NaN or infinity in them.

    Args:
        model: without a distributed wrapper.
        optim_wrapper: MMEngine's wrapper, or a dict of them.
        allowed: buffers that hold infinities on purpose.

    Returns:
        Of a sharded run, what this process holds of them:
        ``"head.cls.center.value"``, ``"exp_avg of backbone.layers.0.ln1.weight"`` and the like.
    """
    named = [
        (name, value) for name, value in model.state_dict().items() if name not in (allowed or ())
    ]
    named += _moments(model, optim_wrapper)
    named = [(name, value) for name, value in named if is_float(value)]
    by_device: dict[torch.device, list[tuple[str, Tensor]]] = {}
    for name, value in named:
        by_device.setdefault(value.device, []).append((name, value))
    bad: list[str] = []
    for group in by_device.values():
        parts = local_parts(value.detach() for _, value in group)
        finite = torch.stack([part.isfinite().all() for part in parts]).tolist()
        bad += [name for (name, _), fine in zip(group, finite, strict=True) if not fine]
    return bad


def infinite_buffers(model: nn.Module) -> set[str]:
    """Buffers with infinities but no NaN: masks of attention scores are written so."""
    return {
        name
        for name, buffer in model.named_buffers()
        if is_float(buffer) and bool(buffer.isinf().any()) and not bool(buffer.isnan().any())
    }


def is_float(value: Any) -> bool:
    """Whether this is a tensor that can hold NaN."""
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def _moments(model: nn.Module, optim_wrapper: Any) -> Iterator[tuple[str, Any]]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    wrappers = optim_wrapper.values() if hasattr(optim_wrapper, "values") else [optim_wrapper]
    for wrapper in wrappers:
        for parameter, state in wrapper.optimizer.state.items():
            for key, value in state.items():
                yield f"{key} of {names.get(parameter, 'a parameter')}", value
