"""Features and labels of a whole data set, by all processes together."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import all_gather, all_reduce, get_comm_device, get_dist_info
from mmengine.logging import print_log
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from mmrel.datasets.loader_watch import watched_batches
from mmrel.structures import TokenViews

Progress = Callable[[int, int], None]


def feature_extractor(
    model: Any, network: str, feature: str, watch: Callable[[TokenViews], None] | None = None
) -> Callable[[Tensor], Tensor]:
    """The function from normalised images ``(n, 3, H, W)`` to L2-normalised features.

    Args:
        model: a self-supervised model.
        network: ``"teacher"`` or ``"student"``.
        feature: see :meth:`mmrel.structures.TokenViews.feature`. If the backbone has no class token, ``"cls"``
            is what stands for it.
        watch: is called with the tokens of each batch that the features come from.
    """

    def extract(images: Tensor) -> Tensor:
        tokens = model.extract_tokens(images, network)
        if watch is not None:
            watch(tokens)
        return functional.normalize(tokens.feature(feature).float(), dim=1)

    return extract


@torch.inference_mode()
def extract_features(
    extract: Callable[[Tensor], Tensor],
    preprocess: Callable[[Any, bool], dict[str, Any]],
    loader: DataLoader,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """Features and labels of a whole data set, in its order, on every rank.

    Each rank computes its share; an image that the sampler repeats to fill up the last round counts once. One that
    replaces an unreadable file does not count.

    Args:
        extract: images ``(n, 3, H, W)`` to features ``(n, D)``.
        preprocess: the model's data preprocessor; called as ``preprocess(batch, False)``.
        loader: a loader that does not shuffle; its data samples have ``gt_label``.
        progress: is called with the number of images done and of all, at the start and after each batch.

    Returns:
        float ``(N, D)`` and long ``(N,)``, on the device of the features.
    """
    features: list[Tensor] = []
    labels: list[int] = []
    origins: list[int | None] = []
    length = len(loader.dataset)  # type: ignore[arg-type]
    report = progress or (lambda done, count: None)
    _, world_size = get_dist_info()
    report(0, length)
    with watched_batches(loader) as batches:
        for batch in batches:
            data = preprocess(batch, False)
            features.append(extract(data["inputs"]))
            labels.extend(_label(sample) for sample in data["data_samples"])
            origins.extend(getattr(sample, "sample_idx", None) for sample in data["data_samples"])
            report(min(length, len(labels) * world_size), length)
    positions = sample_positions(loader)[: len(labels)]
    pairs = zip(origins, positions, strict=True)
    kept = [row for row, (origin, position) in enumerate(pairs) if origin in (None, position)]
    own_features = torch.cat(features)[kept]
    own_labels, own_positions = (
        torch.tensor([values[row] for row in kept], dtype=torch.long, device=own_features.device)
        for values in (labels, positions)
    )
    merged = _merge(own_features, own_labels, own_positions, length)
    if len(merged[1]) < length:
        print_log(
            f"{length - len(merged[1])} of {length} images are left out of the k-NN: their files cannot be read",
            "current",
            logging.WARNING,
        )
    return merged


def sample_positions(loader: DataLoader) -> list[int]:
    """The positions in the data set of the images that this rank's loader gives, in order."""
    return [int(getattr(key, "index", key)) for key in loader.sampler]


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
