"""Soft cross-entropy, one row and one prototype at a time."""

import math

import torch
from torch import Tensor


def soft_cross_entropy(
    student: Tensor,
    teacher: Tensor,
    student_temperature: float,
    teacher_temperature: float,
    center: Tensor,
) -> Tensor:
    """``(n,)`` for logits ``(n, K)`` and a centre ``(K,)``; the numbers only, without gradient."""
    losses = []
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        targets = [
            math.exp((a - c) / teacher_temperature) for a, c in zip(t, center.tolist(), strict=True)
        ]
        predictions = [math.exp(a / student_temperature) for a in s]
        losses.append(
            -sum(
                q / sum(targets) * math.log(p / sum(predictions))
                for q, p in zip(targets, predictions, strict=True)
            )
        )
    return torch.tensor(losses, dtype=torch.float64)
