"""The running centre of teacher logits (DINO, arXiv 2104.14294, section 3.1)."""

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn


class RunningCenter(nn.Module):
    """Exponential moving average of the mean teacher logits, over all processes.

    A step first *accumulates* (once per micro-batch, under gradient accumulation) and the optimiser's success
    then *commits*: ``c <- m c + (1 - m) mean``. The mean is over all rows (crops or patches) of all micro-batches and
    processes, however unequally they hold them; a failed step changes nothing. In evaluation mode, or without
    gradients, nothing is accumulated: a loss on held-out images leaves the centre alone.

    Args:
        channels: K, the number of prototypes.
        momentum: m.
    """

    def __init__(self, channels: int, momentum: float = 0.9) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"center momentum is {momentum}; it must be between 0 and 1")
        self.momentum = momentum
        self.value: Tensor
        self.register_buffer("value", torch.zeros(1, channels))
        self._pending: list[tuple[Tensor, int]] = []
        self._traced: tuple[Tensor, int] | None = None

    def accumulate(self, mean: Tensor, rows: int = 1) -> None:
        """Remember one micro-batch of this process.

        Args:
            mean: its mean logits ``(1, K)``.
            rows: how many rows the mean counts.
        """
        if mean.shape != self.value.shape:
            raise ValueError(
                f"mean teacher logits have shape {tuple(mean.shape)}, the center {tuple(self.value.shape)}; "
                "give the head the projection's number of prototypes as out_channels"
            )
        if not (self.training and torch.is_grad_enabled()):
            return
        self.settle()
        entry = (mean.detach().to(self.value.dtype), rows)
        if torch.compiler.is_compiling():
            # A compiled forward pass that read the list would be compiled anew for each of its lengths.
            self._traced = entry
        else:
            self._pending.append(entry)

    def settle(self) -> None:
        """Put the micro-batch of a compiled forward pass to the others."""
        if self._traced is not None:
            self._pending.append(self._traced)
            self._traced = None

    @torch.no_grad()
    def commit(self, ok: Tensor) -> None:
        """Move the centre if ``ok`` (0-dim bool) is true; forget what was accumulated either way."""
        self.settle()
        if not self._pending:
            return
        means, rows = zip(*self._pending, strict=True)
        self._pending = []
        mean = torch.stack(_weighted(means, rows)).mean(dim=0) * _share(sum(rows), self.value)
        all_reduce(mean, op="mean")
        moved = self.momentum * self.value + (1 - self.momentum) * mean
        self.value.copy_(torch.where(ok, moved, self.value))


def _weighted(means: Sequence[Tensor], rows: Sequence[int]) -> list[Tensor]:
    """Means whose plain mean is that over all rows; equal micro-batches keep theirs bit for bit."""
    total = sum(rows)
    return [mean * (number * len(rows) / total) for mean, number in zip(means, rows, strict=True)]


def _share(rows: int, like: Tensor) -> Tensor | float:
    """This process's rows over their mean over the processes: 1 where all have equally many."""
    if get_world_size() == 1:
        return 1.0
    # Filled on the device, so that nobody waits for a transfer; integers, so that equal shares give exactly 1.
    total = torch.full((), rows, dtype=torch.int64, device=like.device)
    all_reduce(total, op="sum")
    return rows * get_world_size() / total.to(like.dtype)
