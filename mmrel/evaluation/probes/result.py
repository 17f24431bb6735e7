"""What probes take and give: checked features, and accuracies by setting."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmrel.utils.text import listed

Progress = Callable[[int, int], None]
"""Called with the number of steps done and of all, at the start and after each."""


@dataclass(frozen=True)
class ProbeResult:
    """Accuracies, in per cent, of classifiers that differ in one setting.

    Attributes:
        accuracy: top-1 by setting: the rate, or the strength of the penalty.
        top5: top-5 by setting; empty for fewer than five classes.
    """

    accuracy: dict[float, float]
    top5: dict[float, float]

    @property
    def best_setting(self) -> float:
        """The setting with the highest top-1; chosen on the validation images, as the papers do."""
        return max(self.accuracy, key=lambda setting: self.accuracy[setting])

    @property
    def best(self) -> float:
        """The highest top-1; since it was chosen on the validation images, it is a little too high for them."""
        return self.accuracy[self.best_setting]


@dataclass(frozen=True)
class ProbeData:
    """Features that were checked, and labels that count the K training classes from 0 on.

    Attributes:
        train: ``(N, C)``, float32 or float64.
        train_labels: long ``(N,)``.
        val: ``(M, C)``, of the same type and device.
        val_labels: long ``(M,)``.
        num_classes: K.
    """

    train: Tensor
    train_labels: Tensor
    val: Tensor
    val_labels: Tensor
    num_classes: int

    @property
    def topk(self) -> tuple[int, ...]:
        """What is reported; of four classes, five are all."""
        return (1, 5) if self.num_classes >= 5 else (1,)

    def result(self, hits: Tensor, settings: Sequence[float]) -> ProbeResult:
        """Accuracies from bool ``(M, settings, topk)``: who has which image right."""
        percent = 100 * hits.double().sum(dim=0) / len(hits)
        columns = [dict(zip(settings, column, strict=True)) for column in percent.T.tolist()]
        return ProbeResult(columns[0], columns[1] if len(columns) > 1 else {})


def check_data(train_x: Tensor, train_y: Tensor, val_x: Tensor, val_y: Tensor) -> ProbeData:
    """The data, or an error that tells what is wrong with them.

    Raises:
        ValueError: an empty set, shapes that do not fit, values that are not finite, fewer than two classes, or
            validation classes that are unknown in training.
    """
    for name, features, labels in (("training", train_x, train_y), ("validation", val_x, val_y)):
        _check_set(name, features, labels)
    if train_x.shape[1] != val_x.shape[1]:
        raise ValueError(
            f"training features have {train_x.shape[1]} channels and validation features {val_x.shape[1]}; extract "
            "both from one network in one way"
        )
    classes, numbered = train_y.unique(return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"all {len(train_y)} training labels are {int(classes[0])}; a classifier needs two classes or more"
        )
    unknown = val_y[~torch.isin(val_y, classes.to(val_y))].unique().tolist()
    if unknown:
        raise ValueError(
            f"{len(unknown)} validation class(es) are unknown in training and can never be right: "
            f"{listed([str(label) for label in unknown])}. Add such images to the training set, or leave them out"
        )
    train = train_x if train_x.dtype == torch.float64 else train_x.float()
    place = torch.searchsorted(classes, val_y.to(classes))
    labels = numbered.to(train.device), place.to(train.device)
    return ProbeData(train, labels[0], val_x.to(train), labels[1], len(classes))


def _check_set(name: str, features: Tensor, labels: Tensor) -> None:
    if features.ndim != 2 or labels.shape != features.shape[:1] or not features.numel():
        raise ValueError(
            f"{name} features are {tuple(features.shape)} with labels {tuple(labels.shape)}; wanted (N, C) with N "
            "labels, neither of them empty"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"{name} labels are {labels.dtype}; wanted whole numbers")
    bad = ~features.isfinite().all(dim=1)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(features)} {name} features are not finite, the first is number "
            f"{int(bad.nonzero()[0])}; the network's weights or its input are broken"
        )
