"""Logging scalars that stay on the device until somebody reads them.

MMEngine's ``MessageHub.update_scalar`` calls ``.item()`` on every scalar of every step, which makes
the host wait for the device each time. ``defer_scalar`` keeps the tensor instead; the first reader
(the logger at its interval, a checkpoint) triggers one transfer for everything that is waiting. What
is read equals what the stock call would have stored.
"""

from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch import Tensor

MAX_PENDING = 8192


class ScalarPool:
    """The tensors that wait, with the buffers that they belong to, in order of arrival."""

    def __init__(self) -> None:
        self._pending: list[tuple[DeferredHistoryBuffer, Tensor]] = []

    def push(self, buffer: "DeferredHistoryBuffer", value: Tensor) -> None:
        """Remember one scalar; a full pool is flushed, which bounds the memory."""
        self._pending.append((buffer, value))
        if len(self._pending) >= MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Transfer all waiting tensors, at once per device and dtype, and append them in order."""
        # Emptied first: whoever reads a history meanwhile must not transfer the same tensors again.
        pending, self._pending = self._pending, []
        groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
        for position, (_, value) in enumerate(pending):
            groups.setdefault((value.device, value.dtype), []).append(position)
        values: list[Any] = [None] * len(pending)
        for positions in groups.values():
            # tolist() of one stacked tensor is the only wait for the device. Grouped by dtype,
            # since stack() would promote: an int64 counter does not survive float32.
            host = torch.stack([pending[position][1] for position in positions]).tolist()
            for position, number in zip(positions, host, strict=True):
                values[position] = number
        by_buffer: dict[DeferredHistoryBuffer, list[float]] = {}
        for (buffer, _), number in zip(pending, values, strict=True):
            by_buffer.setdefault(buffer, []).append(number)
        for buffer, numbers in by_buffer.items():
            buffer.extend(numbers)


_POOL = ScalarPool()


class DeferredHistoryBuffer(HistoryBuffer):
    """A ``HistoryBuffer`` whose newest entries may still be on the device.

    Any access to the history fetches them first. A deep copy, and so a checkpoint, is a plain
    ``HistoryBuffer``.

    Args:
        source: buffer whose content is taken over.
        pool: where the waiting tensors are kept.
    """

    def __init__(self, source: HistoryBuffer, pool: ScalarPool = _POOL) -> None:
        self._pool = pool
        # HistoryBuffer's methods all go through _log_history and _count_history, which are
        # properties here. So each of them sees the waiting values without being overridden one by
        # one; its constructor assigns both, hence the setters.
        super().__init__(max_length=source.max_length)
        self._log, self._count = source.data

    @property
    def _log_history(self) -> np.ndarray:
        self._pool.flush()
        return self._log

    @_log_history.setter
    def _log_history(self, value: np.ndarray) -> None:
        self._log = value

    @property
    def _count_history(self) -> np.ndarray:
        self._pool.flush()
        return self._count

    @_count_history.setter
    def _count_history(self, value: np.ndarray) -> None:
        self._count = value

    def defer(self, value: Tensor) -> None:
        """Append a one-element tensor without waiting for the device."""
        self._pool.push(self, value.detach().reshape(()))

    def extend(self, values: list[float]) -> None:
        """Append host numbers, each with count 1, keeping at most ``max_length``."""
        counts = np.ones(len(values), dtype=np.int64)
        self._log = np.append(self._log, values)[-self.max_length :]
        self._count = np.append(self._count, counts)[-self.max_length :]

    def __deepcopy__(self, memo: dict[int, Any]) -> HistoryBuffer:
        log, count = self.data
        plain = HistoryBuffer(max_length=self.max_length)
        plain._log_history, plain._count_history = log.copy(), count.copy()
        return plain

    def __reduce__(self) -> tuple[Any, ...]:
        log, count = self.data
        return HistoryBuffer, (log, count, self.max_length)


def defer_scalar(hub: MessageHub, key: str, value: Tensor) -> None:
    """``hub.update_scalar(key, value)`` without waiting for the device.

    The first value of a key creates the buffer through the hub and so does wait.

    Args:
        hub: the message hub.
        key: name of the scalar, such as ``"train/grad_norm"``.
        value: tensor with one element.
    """
    buffer = hub.log_scalars.get(key)
    if buffer is None:
        # The hub checks the key and keeps a table of what may be resumed; only it may create the
        # entry.
        hub.update_scalar(key, value.detach())
        hub.log_scalars[key] = DeferredHistoryBuffer(hub.log_scalars[key])
        return
    # A resumed run has plain buffers from the checkpoint, and so has a key that somebody logs in
    # the stock way.
    if not isinstance(buffer, DeferredHistoryBuffer):
        buffer = hub.log_scalars[key] = DeferredHistoryBuffer(buffer)
    buffer.defer(value)


def flush_scalars() -> None:
    """Transfer everything that waits."""
    _POOL.flush()
