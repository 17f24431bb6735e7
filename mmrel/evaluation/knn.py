"""Weighted k-nearest-neighbour classification on frozen features.

The protocol of DINO and iBOT (arXiv 2104.14294, 2111.07832): cosine similarity of L2-normalised features;
the k nearest training images vote for their class with weight exp(similarity / 0.07).
"""

import logging
from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce, get_dist_info
from mmengine.logging import print_log
from torch import Tensor
from torch.nn import functional

from mmrel.evaluation.labelled_features import extract_features, feature_extractor

__all__ = [
    "extract_features",
    "feature_extractor",
    "knn_accuracy",
    "knn_classify",
    "leave_one_out",
    "leave_one_out_accuracy",
]


def knn_classify(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    k: Sequence[int],
    temperature: float = 0.07,
    num_classes: int | None = None,
    chunk: int = 512,
) -> dict[int, Tensor]:
    """Rank the classes of each test feature by the weighted vote of its k nearest neighbours.

    Args:
        train_features: ``(N, C)``; normalised here.
        train_labels: long ``(N,)``.
        test_features: ``(M, C)``; normalised here.
        k: numbers of neighbours; more than N means N, which is announced.
        temperature: T in the weights exp(similarity / T).
        num_classes: number of classes; ``None``: the largest label plus one.
        chunk: test features that are handled at once, which bounds the memory to chunk * N.

    Returns:
        for each k, long ``(M, min(5, k, num_classes))``: the classes, most votes first.

    Raises:
        ValueError: if shapes, k or temperature do not fit, or a feature has no direction (NaN, infinite, all zeros).
    """
    _check_bank(train_features, train_labels, test_features, k, temperature)
    _check_directions(train_features, "bank")
    _check_directions(test_features, "validation")
    bank = _unit(train_features), train_labels
    classes = int(train_labels.max()) + 1 if num_classes is None else num_classes
    return _rank(bank, _unit(test_features), k, temperature, classes, chunk)


def leave_one_out(
    features: Tensor, labels: Tensor, k: int, temperature: float = 0.07, chunk: int = 512
) -> Tensor:
    """Classify each sample by its k nearest others.

    A sample has no vote in its own classification; another one with the same features has.

    Args:
        features: ``(N, C)``; normalised here.
        labels: long ``(N,)``, from 0 on.
        k: number of neighbours. More than the N - 1 others is an error here and not, as in :func:`knn_classify`, cut to
            what there is: with all others as neighbours, the figure would be that of the classes' sizes.
        temperature: T in the weights exp(similarity / T).
        chunk: samples that are handled at once, which bounds the memory to chunk * N.

    Returns:
        long ``(N,)``: the class with most votes.

    Raises:
        ValueError: if shapes, labels, k or temperature do not fit, or a feature has no direction.
    """
    _check_others(features, labels, (k,), temperature)
    bank, own = (_unit(features), labels), torch.arange(len(labels), device=features.device)
    classes = int(labels.max()) + 1
    return _rank(bank, bank[0], (k,), temperature, classes, chunk, own)[k][:, 0]


def _unit(features: Tensor) -> Tensor:
    """Rows of length 1, in float32 at least: exp(1 / 0.07) is more than half precision can hold."""
    half = features.dtype in (torch.float16, torch.bfloat16)
    return functional.normalize(features.float() if half else features, dim=1)


def _rank(
    bank: tuple[Tensor, Tensor],
    queries: Tensor,
    k: Sequence[int],
    temperature: float,
    classes: int,
    chunk: int = 512,
    own: Tensor | None = None,
) -> dict[int, Tensor]:
    """Classes of each query by votes; ``own``, long ``(M,)``, are its positions in the bank, which do not vote."""
    features, labels = bank
    largest = min(max(k), len(features) - (own is not None))
    ranks: dict[int, list[Tensor]] = {number: [] for number in k}
    for first in range(0, len(queries), chunk):
        similarity = queries[first : first + chunk] @ features.T
        if own is not None:
            similarity.scatter_(1, own[first : first + chunk, None], -torch.inf)
        similarity, nearest = similarity.topk(largest, dim=1)
        # One factor for all votes of a query changes no rank; so none overflows, whatever the temperature.
        weights = ((similarity - similarity[:, :1]) / temperature).exp()
        for number, rows in ranks.items():
            votes = weights.new_zeros(len(weights), classes)
            votes.scatter_add_(1, labels[nearest[:, :number]], weights[:, :number])
            rows.append(votes.topk(min(5, number, classes), dim=1).indices)
    return {number: torch.cat(rows) for number, rows in ranks.items()}


def _check_bank(
    train: Tensor, labels: Tensor, test: Tensor, k: Sequence[int], temperature: float
) -> None:
    shapes_fit = train.ndim == test.ndim == 2 and train.shape[1] == test.shape[1]
    if not shapes_fit or labels.shape != train.shape[:1] or not len(train) or not len(test):
        raise ValueError(
            f"k-NN needs features (N, C) and (M, C) with N labels, none of them empty, but got "
            f"{tuple(train.shape)}, {tuple(test.shape)} and labels {tuple(labels.shape)}; check the "
            "bank and the validation data set."
        )
    if not k or min(k) < 1 or temperature <= 0:
        raise ValueError(
            f"k must be numbers of neighbours above 0 and temperature above 0, but they are {list(k)} "
            f"and {temperature}; the usual values are (10, 20) and 0.07."
        )


def _check_others(features: Tensor, labels: Tensor, k: Sequence[int], temperature: float) -> None:
    _check_bank(features, labels, features, k, temperature)
    if max(k) > len(features) - 1:
        raise ValueError(
            f"k is {max(k)}, but each of the {len(features)} samples has {len(features) - 1} others; give a smaller k"
        )
    if labels.is_floating_point() or int(labels.min()) < 0:
        raise ValueError(
            f"labels are {labels.dtype}, the smallest {labels.min().item()}; give whole numbers from 0 on, and leave "
            "out samples without a class"
        )
    _check_directions(features, "bank")


def _check_directions(features: Tensor, name: str) -> None:
    """Among NaN and zero vectors nothing is nearest; ``topk`` would take any without a word."""
    length = features.float().norm(dim=1)
    bad = ~(length.isfinite() & (length > 0))
    if bad.any():
        first = int(bad.nonzero()[0])
        what = "is zero" if length[first] == 0 else "has values that are not finite"
        raise ValueError(
            f"{int(bad.sum())} of {len(features)} {name} features have no direction, so that no neighbour is the "
            f"nearest: number {first} {what}. The network's weights or its input are broken; look at the losses."
        )


def knn_accuracy(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    k: Sequence[int],
    temperature: float = 0.07,
) -> dict[str, float]:
    """Top-1 and top-5 accuracy in per cent; the ranks share the test images.

    Args:
        train: bank features ``(N, C)`` and labels ``(N,)``.
        test: validation features ``(M, C)`` and labels ``(M,)``.
        k: numbers of neighbours.
        temperature: of the votes.

    Returns:
        ``top1_k<k>`` and ``top5_k<k>`` for each k.

    Raises:
        ValueError: as :func:`knn_classify`.
    """
    _check_bank(*train, test[0], k, temperature)
    _announce_limits(train[1], test[1], k)
    rank, world_size = get_dist_info()
    features, labels = test[0][rank::world_size], test[1][rank::world_size]
    classes = int(torch.maximum(train[1].max(), test[1].max())) + 1
    ranked = knn_classify(*train, features, k, temperature, classes) if len(labels) else {}
    return _percent(ranked, labels, k, len(test[1]))


def leave_one_out_accuracy(
    samples: tuple[Tensor, Tensor], k: Sequence[int], temperature: float = 0.07
) -> dict[str, float]:
    """The same of one set without a split: each sample by its nearest others; the ranks share the samples.

    Args:
        samples: features ``(N, C)`` and labels ``(N,)``.
        k: numbers of neighbours, at most N - 1.
        temperature: of the votes.

    Raises:
        ValueError: as :func:`leave_one_out`.
    """
    features, labels = samples
    _check_others(features, labels, k, temperature)
    rank, world_size = get_dist_info()
    own = torch.arange(len(labels), device=features.device)[rank::world_size]
    bank, classes = (_unit(features), labels), int(labels.max()) + 1
    queries = bank[0][own]
    ranked = _rank(bank, queries, k, temperature, classes, own=own) if len(own) else {}
    return _percent(ranked, labels[own], k, len(labels))


def _percent(
    ranked: dict[int, Tensor], labels: Tensor, k: Sequence[int], total: int
) -> dict[str, float]:
    """Accuracies in per cent from each rank's share of the answers."""
    counts = torch.zeros(len(k), 2, dtype=torch.float64)
    for row, number in enumerate(k if ranked else ()):
        hits = (ranked[number] == labels[:, None]).cpu()
        counts[row, 0] = hits[:, 0].sum()
        counts[row, 1] = hits.any(dim=1).sum()
    all_reduce(counts, op="sum")
    percent = (100 * counts / total).tolist()
    return {
        f"top{top}_k{number}": percent[row][column]
        for row, number in enumerate(k)
        for column, top in enumerate((1, 5))
    }


def _announce_limits(train_labels: Tensor, test_labels: Tensor, k: Sequence[int]) -> None:
    """Say what the numbers cannot show."""
    if max(k) > len(train_labels):
        print_log(
            f"k-NN with k={max(k)} takes all {len(train_labels)} images of the bank, which has no more",
            "current",
            logging.WARNING,
        )
    lost = ~torch.isin(test_labels, train_labels.to(test_labels.device))
    if lost.any():
        print_log(
            f"k-NN: {int(lost.sum())} of {len(test_labels)} images are of classes (label "
            f"{', '.join(map(str, test_labels[lost].unique().tolist()[:8]))}) without an image in the bank, and "
            "count as wrong; raise max_bank",
            "current",
            logging.WARNING,
        )
