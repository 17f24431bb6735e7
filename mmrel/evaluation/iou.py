"""Intersection over union from one confusion matrix of all pixels, as mmseg's ``IoUMetric`` counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mmrel.evaluation.masks import IGNORED


@dataclass(frozen=True)
class Segmentation:
    """How well the pixels of a set were classified.

    Attributes:
        miou: mean intersection over union in per cent, over the classes with a value.
        iou: of each class in per cent; NaN where neither the annotation nor the prediction has the class.
        pixel_accuracy: share of the pixels that are right, in per cent.
        confusion: long ``(K, K)``, pixels by annotated class (row) and predicted class.
        predictions: long ``(H, W)`` of the images that were asked for, by their position.
    """

    miou: float
    iou: dict[str, float]
    pixel_accuracy: float
    confusion: Tensor
    predictions: dict[int, NDArray] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The figures for a JSON file; ``None`` for a class without a value."""
        iou = {name: None if isnan(value) else value for name, value in self.iou.items()}
        return {"miou": self.miou, "pixel_accuracy": self.pixel_accuracy, "iou": iou}


def confusion_matrix(predicted: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Pixels by annotated and predicted class, long ``(K, K)``; pixels whose label is -1 do not count.

    Args:
        predicted: long ``(...)``, 0 to K - 1.
        truth: long, of the same shape, -1 to K - 1.
        num_classes: K.

    Raises:
        ValueError: the shapes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(
            f"the prediction has shape {tuple(predicted.shape)}, the annotation {tuple(truth.shape)}; wanted equal ones"
        )
    counted = truth != IGNORED
    pairs = truth[counted] * num_classes + predicted[counted]
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def segmentation_scores(confusion: Tensor, classes: Sequence[str]) -> Segmentation:
    """The figures that a confusion matrix ``(K, K)`` gives.

    Raises:
        ValueError: no pixel was counted.
    """
    counts = confusion.double().cpu()
    if not counts.sum():
        raise ValueError("not one pixel of the validation masks has a class; all are ignored")
    right = counts.diag()
    iou = 100 * right / (counts.sum(0) + counts.sum(1) - right)
    return Segmentation(
        miou=float(iou.nanmean()),
        iou=dict(zip(classes, iou.tolist(), strict=True)),
        pixel_accuracy=float(100 * right.sum() / counts.sum()),
        confusion=confusion.cpu(),
    )


def upsampled_argmax(scores: Tensor, size: tuple[int, int], chunk: int = 32) -> Tensor:
    """The best class of each pixel, from scores per patch that are enlarged bilinearly (``align_corners=False``).

    Args:
        scores: ``(K, rows, cols)``.
        size: (H, W) in pixels.
        chunk: classes that are enlarged at once, which bounds the memory to chunk * H * W.

    Returns:
        long ``(H, W)``; of equal scores, the first class.
    """
    best = scores.new_full(size, -torch.inf)
    label = torch.zeros(size, dtype=torch.long, device=scores.device)
    for first in range(0, len(scores), chunk):
        part = F.interpolate(scores[None, first : first + chunk], size=size, mode="bilinear")[0]
        value, index = part.max(dim=0)
        better = value > best
        best = torch.where(better, value, best)
        label = torch.where(better, index + first, label)
    return label
