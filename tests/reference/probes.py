"""Linear classifiers on fixed features, slow and obvious: one torch training per rate, and Newton's method."""

import math

import torch
from torch import Tensor, nn


def linear_head(
    train_x: Tensor,
    train_y: Tensor,
    rate: float,
    epochs: int,
    batch: int,
    momentum: float,
    weight_decay: float,
    seed: int,
) -> nn.Linear:
    """One classifier by ``torch.optim.SGD``, its rate set anew for each epoch."""
    rng = torch.Generator().manual_seed(seed)
    classes = int(train_y.max()) + 1
    layer = nn.Linear(train_x.shape[1], classes, dtype=train_x.dtype)
    drawn = torch.randn(classes, train_x.shape[1], generator=rng, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(0.01 * drawn)
        layer.bias.zero_()
    size = min(batch, len(train_x))
    top = rate * size / 256
    sgd = torch.optim.SGD(layer.parameters(), top, momentum=momentum, weight_decay=weight_decay)
    for epoch in range(epochs):
        sgd.param_groups[0]["lr"] = top * (1 + math.cos(math.pi * epoch / epochs)) / 2
        for rows in torch.randperm(len(train_x), generator=rng).split(size):
            sgd.zero_grad()
            nn.functional.cross_entropy(layer(train_x[rows]), train_y[rows]).backward()
            sgd.step()
    return layer


def logistic_weights(x: Tensor, y: Tensor, strength: float, steps: int = 50) -> Tensor:
    """Weights ``(K, C)`` that minimise mean cross-entropy + strength / 2 * their squares, by Newton's method.

    Args:
        x: float64 ``(N, C)``, used as they are.
        y: ``(N,)``, 0 to K - 1.
        strength: of the penalty.
        steps: of Newton's method.
    """
    classes = int(y.max()) + 1

    def objective(flat: Tensor) -> Tensor:
        weights = flat.view(classes, -1)
        loss = nn.functional.cross_entropy(x @ weights.T, y)
        return loss + strength / 2 * weights.square().sum()

    flat = torch.zeros(classes * x.shape[1], dtype=torch.float64)
    for _ in range(steps):
        gradient = torch.autograd.functional.jacobian(objective, flat)
        step = torch.linalg.solve(torch.autograd.functional.hessian(objective, flat), gradient)
        while objective(flat - step) > objective(flat):
            step = step / 2
        flat = flat - step
        if gradient.norm() < 1e-12:
            break
    return flat.view(classes, -1)
