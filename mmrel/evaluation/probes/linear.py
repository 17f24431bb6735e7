"""Linear classifiers by SGD at many rates at once: the heads of DINO (arXiv 2104.14294) and iBOT (arXiv 2111.07832)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmrel.evaluation.multi_head_accuracy import top_hits
from mmrel.evaluation.probes.result import ProbeData, ProbeResult, Progress, check_data
from mmrel.ops.schedules import cosine_schedule

LEARNING_RATES = tuple(d * s for s in (1e-4, 1e-3, 1e-2, 1e-1, 1.0) for d in range(1, 10))
"""iBOT's 45 rates, per 256 images."""

CHUNK = 1024
"""Validation features that are scored at once."""


def fit_linear_heads(
    train_x: Tensor,
    train_y: Tensor,
    val_x: Tensor,
    val_y: Tensor,
    learning_rates: Sequence[float] = LEARNING_RATES,
    epochs: int = 100,
    batch: int = 1024,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> ProbeResult:
    """Train one linear classifier per rate, all at once, and judge each.

    All begin with the same weights, N(0, 0.01), and see the same batches; each is what it would be if it were trained
    alone. The rate falls to 0 in half a cosine, epoch by epoch. The features are taken as they are.

    Args:
        train_x: ``(N, C)``, on the device that shall compute; float64 is computed in float64, all else in float32.
        train_y: ``(N,)`` whole numbers, which need not be contiguous.
        val_x: ``(M, C)``.
        val_y: ``(M,)``, each one of those in ``train_y``.
        learning_rates: per 256 images: they are multiplied by the batch's size / 256.
        epochs: passes over the training features.
        batch: features per step, at most N; the last step of an epoch has what is left.
        momentum: of SGD.
        weight_decay: L2 penalty, on weights and biases.
        seed: of the weights and the order.
        progress: is told the epochs.

    Raises:
        ValueError: as :func:`mmrel.evaluation.probes.result.check_data`, or settings outside of their range.
    """
    _check_settings(learning_rates, epochs, batch, momentum, weight_decay)
    data = check_data(train_x, train_y, val_x, val_y)
    rng = torch.Generator().manual_seed(seed)
    heads = _Heads(data, len(learning_rates), rng)
    size, progress = min(batch, len(data.train)), progress or (lambda done, count: None)
    rates = data.train.new_tensor(learning_rates) * (size / 256)
    progress(0, epochs)
    for epoch in range(epochs):
        now = rates * cosine_schedule(epoch, epochs, 1.0, 0.0)
        order = torch.randperm(len(data.train), generator=rng).to(data.train.device)
        for rows in order.split(size):
            heads.step(data.train[rows], data.train_labels[rows], now, momentum, weight_decay)
        progress(epoch + 1, epochs)
    chunks = zip(data.val.split(CHUNK), data.val_labels.split(CHUNK), strict=True)
    hits = [top_hits(heads.scores(x).transpose(0, 1), y, data.topk) for x, y in chunks]
    return data.result(torch.cat(hits), learning_rates)


class _Heads:
    """R linear classifiers as one matrix, with the momentum of each."""

    def __init__(self, data: ProbeData, count: int, rng: torch.Generator) -> None:
        classes, channels = data.num_classes, data.train.shape[1]
        drawn = torch.randn(classes, channels, generator=rng, dtype=torch.float64) * 0.01
        one = drawn.to(data.train)
        self.weights = one.expand(count, -1, -1).clone()
        self.biases = one.new_zeros(count, classes)
        self.velocities = [torch.zeros_like(self.weights), torch.zeros_like(self.biases)]

    def scores(self, features: Tensor) -> Tensor:
        """``(R, B, K)`` of features ``(B, C)``."""
        flat = features @ self.weights.flatten(0, 1).T
        return (flat.unflatten(1, self.biases.shape) + self.biases).transpose(0, 1)

    def step(
        self, features: Tensor, labels: Tensor, rates: Tensor, momentum: float, decay: float
    ) -> None:
        """One step of SGD on the mean cross-entropy of a batch ``(B, C)``, at rates ``(R,)``."""
        # The gradient of the cross-entropy is the probabilities less the one-hot label.
        gradient = self.scores(features).softmax(dim=-1)
        gradient[:, torch.arange(len(labels), device=labels.device), labels] -= 1
        gradient /= len(labels)
        of_weights = (gradient.transpose(1, 2).flatten(0, 1) @ features).view_as(self.weights)
        parts = ((self.weights, of_weights), (self.biases, gradient.sum(dim=1)))
        for velocity, (value, grad) in zip(self.velocities, parts, strict=True):
            velocity.mul_(momentum).add_(grad).add_(value, alpha=decay)
            value -= rates.view(-1, *[1] * (value.ndim - 1)) * velocity


def _check_settings(
    rates: Sequence[float], epochs: int, batch: int, momentum: float, decay: float
) -> None:
    if not rates or min(rates) <= 0 or len(set(rates)) < len(rates):
        raise ValueError(f"learning_rates are {list(rates)}; give numbers above 0, each once")
    if epochs < 1 or batch < 1 or not 0 <= momentum < 1 or decay < 0:
        raise ValueError(
            f"epochs={epochs}, batch={batch}, momentum={momentum}, weight_decay={decay}; give epochs and batch from 1 "
            "on, a momentum in [0, 1) and a weight decay of 0 or more, usually 100, 1024, 0.9 and 0"
        )
