"""Gram anchoring from its formula: one image, one pair of patches at a time."""

import torch
from torch import Tensor


def similarity(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of the angle between two vectors."""
    return (first * second).sum() / (first.square().sum().sqrt() * second.square().sum().sqrt())


def gram_anchoring_loss(student: Tensor, anchor: Tensor) -> Tensor:
    """Mean over images and pairs of patches of the squared difference of their similarities."""
    terms = [
        (similarity(own[i], own[j]) - similarity(early[i], early[j]).detach()) ** 2
        for own, early in zip(student, anchor, strict=True)
        for i in range(len(own))
        for j in range(len(own))
    ]
    return torch.stack(terms).mean()
