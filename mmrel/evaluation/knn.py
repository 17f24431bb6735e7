"""Weighted k-nearest-neighbour classification on frozen features.

The protocol of DINO and iBOT (arXiv 2104.14294, 2111.07832): cosine similarity of L2-normalised features;
the k nearest training images vote for their class with weight exp(similarity / 0.07).
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.dist import all_gather, all_reduce, get_comm_device, get_dist_info
from mmengine.logging import print_log
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from mmrel.datasets.loader_watch import watched_batches


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
    bank = functional.normalize(train_features, dim=1)
    queries = functional.normalize(test_features, dim=1)
    classes = int(train_labels.max()) + 1 if num_classes is None else num_classes
    largest = min(max(k), len(bank))
    ranks: dict[int, list[Tensor]] = {number: [] for number in k}
    for part in queries.split(chunk):
        similarity, nearest = (part @ bank.T).topk(largest, dim=1)
        labels, weights = train_labels[nearest], (similarity / temperature).exp()
        for number, rows in ranks.items():
            votes = weights.new_zeros(len(part), classes)
            votes.scatter_add_(1, labels[:, :number], weights[:, :number])
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


def feature_extractor(model: Any, network: str, feature: str) -> Callable[[Tensor], Tensor]:
    """The function from normalised images ``(n, 3, H, W)`` to L2-normalised features.

    Args:
        model: a self-supervised model.
        network: ``"teacher"`` or ``"student"``.
        feature: see :meth:`mmrel.structures.TokenViews.feature`. If the backbone has no class token, ``"cls"``
            is what stands for it.
    """
    return lambda images: functional.normalize(
        model.extract_tokens(images, network).feature(feature).float(), dim=1
    )


@torch.inference_mode()
def extract_features(
    extract: Callable[[Tensor], Tensor],
    preprocess: Callable[[Any, bool], dict[str, Any]],
    loader: DataLoader,
) -> tuple[Tensor, Tensor]:
    """Features and labels of a whole data set, in its order, on every rank.

    Each rank computes its share; an image that the sampler repeats to fill up the last round counts once. One that
    replaces an unreadable file does not count.

    Args:
        extract: images ``(n, 3, H, W)`` to features ``(n, D)``.
        preprocess: the model's data preprocessor; called as ``preprocess(batch, False)``.
        loader: a loader that does not shuffle; its data samples have ``gt_label``.

    Returns:
        float ``(N, D)`` and long ``(N,)``, on the device of the features.
    """
    features: list[Tensor] = []
    labels: list[int] = []
    origins: list[int | None] = []
    with watched_batches(loader) as batches:
        for batch in batches:
            data = preprocess(batch, False)
            features.append(extract(data["inputs"]))
            labels.extend(_label(sample) for sample in data["data_samples"])
            origins.extend(getattr(sample, "sample_idx", None) for sample in data["data_samples"])
    positions = [int(getattr(key, "index", key)) for key in loader.sampler][: len(labels)]
    pairs = zip(origins, positions, strict=True)
    kept = [row for row, (origin, position) in enumerate(pairs) if origin in (None, position)]
    own_features = torch.cat(features)[kept]
    own_labels, own_positions = (
        torch.tensor([values[row] for row in kept], dtype=torch.long, device=own_features.device)
        for values in (labels, positions)
    )
    length = len(loader.dataset)  # type: ignore[arg-type]
    merged = _merge(own_features, own_labels, own_positions, length)
    if len(merged[1]) < length:
        print_log(
            f"{length - len(merged[1])} of {length} images are left out of the k-NN: their files cannot be read",
            "current",
            logging.WARNING,
        )
    return merged


def _label(sample: Any) -> int:
    label = getattr(sample, "gt_label", None)
    if label is None:
        raise ValueError(
            "k-NN needs labelled images, but a sample has no gt_label; point the bank and the validation "
            "loader to a data set with one folder per class, or remove KNNHook."
        )
    return int(label)


def _merge(
    features: Tensor, labels: Tensor, positions: Tensor, length: int
) -> tuple[Tensor, Tensor]:
    """Collect all ranks' shares and put them in the data set's order."""
    _, world_size = get_dist_info()
    if world_size > 1:
        device = features.device
        share = torch.tensor([len(features)], device=device)
        all_reduce(share, op="max")
        padding = int(share) - len(features)
        # all_gather needs equal shapes; position -1 marks the filling.
        padded = (
            functional.pad(features, (0, 0, 0, padding)),
            functional.pad(labels, (0, padding)),
            functional.pad(positions, (0, padding), value=-1),
        )
        gathered = [torch.cat(all_gather(part.to(get_comm_device()))) for part in padded]
        features, labels, positions = (part.to(device) for part in gathered)
        valid = positions >= 0
        features, labels, positions = features[valid], labels[valid], positions[valid]
    # By position, so that the repeats with which the sampler fills up the last round fall onto the
    # sample that they repeat.
    ordered = features.new_zeros(length, features.shape[1])
    ordered_labels = labels.new_full((length,), -1)
    ordered[positions], ordered_labels[positions] = features, labels
    seen = ordered_labels >= 0
    return ordered[seen], ordered_labels[seen]


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
    counts = torch.zeros(len(k), 2, dtype=torch.float64)
    if len(labels):
        ranked = knn_classify(*train, features, k, temperature, classes)
        for row, number in enumerate(k):
            hits = (ranked[number] == labels[:, None]).cpu()
            counts[row, 0] = hits[:, 0].sum()
            counts[row, 1] = hits.any(dim=1).sum()
    all_reduce(counts, op="sum")
    percent = (100 * counts / len(test[1])).tolist()
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
