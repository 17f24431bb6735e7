"""The content of a checkpoint as tensors and plain types, and back."""

from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def to_plain(value: Any) -> Any:
    """The same structure of tensors and Python's own types."""
    if isinstance(value, HistoryBuffer):
        log, count = value.data
        return {
            "log": torch.from_numpy(log.copy()),
            "count": torch.from_numpy(count.copy()),
            "max_length": value.max_length,
        }
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_plain(item) for item in value)
    if isinstance(value, np.generic):
        return value.item()
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def to_buffer(value: Any) -> HistoryBuffer:
    """The log buffer that :func:`to_plain` took apart."""
    if isinstance(value, HistoryBuffer):
        return value
    buffer = HistoryBuffer(max_length=value["max_length"])
    buffer._log_history = value["log"].cpu().numpy()
    buffer._count_history = value["count"].cpu().numpy()
    return buffer


def tensor_bytes(value: Any) -> int:
    """The size of all tensors in a structure, in bytes: nearly that of its file."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(tensor_bytes, value.values()))
    return sum(map(tensor_bytes, value)) if isinstance(value, list | tuple) else 0
