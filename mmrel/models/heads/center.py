"""The running centre of teacher logits (DINO, arXiv 2104.14294, section 3.1)."""

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn


class RunningCenter(nn.Module):
    """Exponential moving average of the mean teacher logits, over all processes.

    A step first *accumulates* (once per micro-batch, under gradient accumulation) and the optimiser's success
    then *commits*: ``c <- m c + (1 - m) mean``. K micro-batches so give the centre of the whole batch, and a
    failed step changes nothing.

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
        self._pending: list[Tensor] = []

    @torch.no_grad()
    def accumulate(self, mean: Tensor) -> None:
        """Remember the mean logits ``(1, K)`` of one micro-batch of this process."""
        if mean.shape != self.value.shape:
            raise ValueError(
                f"mean teacher logits have shape {tuple(mean.shape)}, the center {tuple(self.value.shape)}; "
                "give the head the projection's number of prototypes as out_channels"
            )
        self._pending.append(mean.detach().to(self.value.dtype))

    @torch.no_grad()
    def commit(self, ok: Tensor) -> None:
        """Move the centre if ``ok`` (0-dim bool) is true; forget what was accumulated either way."""
        if not self._pending:
            return
        mean = torch.stack(self._pending).mean(dim=0)
        self._pending = []
        all_reduce(mean, op="mean")
        moved = self.momentum * self.value + (1 - self.momentum) * mean
        self.value.copy_(torch.where(ok, moved, self.value))
