"""Scores of all ordered pairs of patches, and RelViT's losses on them (arXiv 2206.00481).

The targets depend on the grid alone, so they are one constant for all images. The cross-entropy is written
as ``mean(logsumexp(scores)) - mean(score of the target)``: its second part is linear in the scores, which
are therefore averaged over the images before the target is picked. No table of targets per image, nor of
log-probabilities, is ever made.
"""

import torch
from torch import Tensor

from mmrel.ops.precision import upcast


def pair_scores(query: Tensor, key: Tensor, num_heads: int) -> Tensor:
    """``<q_i, k_j> / sqrt(D)`` of every head.

    Args:
        query: ``(B, N, num_heads * D)``.
        key: the same shape.
        num_heads: score maps.

    Returns:
        ``(B, num_heads, N, N)``; rows are queries.

    Raises:
        ValueError: shapes that differ, or a width that the heads do not divide.
    """
    if query.ndim != 3 or query.shape != key.shape or query.shape[-1] % num_heads:
        raise ValueError(
            f"queries are {tuple(query.shape)} and keys {tuple(key.shape)}; wanted two of (B, N, C) with C "
            f"a multiple of the {num_heads} heads"
        )
    queries, keys = (x.unflatten(2, (num_heads, -1)).transpose(1, 2) for x in (query, key))
    return (queries * queries.shape[-1] ** -0.5) @ keys.transpose(2, 3)


def relation_loss(scores: Tensor, relations: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy over the classes, averaged over all images and ordered pairs, i = j included.

    Args:
        scores: ``(B, classes, N, N)``.
        relations: long ``(N, N)``, the class of each pair.
        label_smoothing: eps: ``(1 - eps) * -log p_target + eps * mean over classes of -log p``.

    Returns:
        Scalar.

    Raises:
        ValueError: scores that are not those of N x N pairs.
    """
    if scores.ndim != 4 or scores.shape[-2:] != relations.shape:
        raise ValueError(
            f"scores are {tuple(scores.shape)}; wanted (B, classes, N, N) for relations "
            f"{tuple(relations.shape)}: give the head the side of the backbone's grid"
        )
    scores = upcast(scores)
    target = scores.mean(dim=0).gather(0, relations[None]).mean()
    loss = scores.logsumexp(dim=1).mean() - (1 - label_smoothing) * target
    return loss - label_smoothing * scores.mean() if label_smoothing else loss


def position_loss(logits: Tensor) -> Tensor:
    """Cross-entropy of patch i with class i, averaged over all patches of all images.

    Args:
        logits: ``(B, N, N)``: of each patch (second axis), one per place (third axis).

    Returns:
        Scalar.

    Raises:
        ValueError: the number of patches is not that of places.
    """
    if logits.ndim != 3 or logits.shape[1] != logits.shape[2]:
        raise ValueError(
            f"logits are {tuple(logits.shape)}; wanted (B, N, N), N patches and as many places: give the "
            "head the side of the backbone's grid"
        )
    logits = upcast(logits)
    return logits.logsumexp(dim=2).mean() - logits.diagonal(dim1=1, dim2=2).mean()


@torch.no_grad()
def accuracy(scores: Tensor, targets: Tensor, dim: int) -> Tensor:
    """Share of places where the largest score along ``dim`` is the target's.

    Args:
        scores: any shape.
        targets: long, of a shape that fits the scores' without ``dim``.
        dim: the axis of classes.

    Returns:
        Scalar in [0, 1].
    """
    return (scores.argmax(dim=dim) == targets).float().mean()
