"""J and F: how well a mask covers an object, and how well it follows its contour (Perazzi et al., CVPR 2016)."""

import math
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Masks = TypeVar("Masks", Tensor, NDArray[Any])
"""Torch tensors or numpy arrays; a function answers in the kind that it is given."""

TOLERANCE = 0.008


def region_similarity(prediction: Masks, truth: Masks) -> Masks:
    """Region similarity J: intersection over union of one object's masks, frame by frame.

    Args:
        prediction: bool ``(T, H, W)``.
        truth: the same.

    Returns:
        float64 ``(T,)``; 1 where both masks are empty.

    Raises:
        ValueError: other shapes or types.
    """
    predicted, true = _checked(prediction, truth)
    union, common = _areas(predicted | true), _areas(predicted & true)
    return _as_given(torch.where(union > 0, common / union.clamp(min=1), 1.0), prediction)


def contour_accuracy(prediction: Masks, truth: Masks, tolerance: float = TOLERANCE) -> Masks:
    """Contour accuracy F of one object's masks, frame by frame.

    The harmonic mean of precision and recall of the boundary pixels: a pixel is right if the other boundary comes at
    least as near as ``ceil(tolerance * diagonal)`` pixels. A mask that is empty, or fills its frame, has no boundary.

    Args:
        prediction: bool ``(T, H, W)``.
        truth: the same.
        tolerance: share of the frame's diagonal.

    Returns:
        float64 ``(T,)``; 1 where neither mask has a boundary, 0 where only one has.

    Raises:
        ValueError: other shapes or types, or a negative tolerance.
    """
    predicted, true = _checked(prediction, truth)
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}; give a share of the diagonal, usually .008")
    radius = math.ceil(tolerance * math.hypot(*predicted.shape[1:]))
    values = [_frame_accuracy(*pair, radius) for pair in zip(predicted, true, strict=True)]
    found = torch.tensor(values, dtype=torch.float64, device=predicted.device)
    return _as_given(found, prediction)


def _areas(masks: Tensor) -> Tensor:
    """Pixels of each frame's mask, float64 ``(T,)``. Frame by frame it takes a tenth of the time of one sum."""
    counts = [int(mask.count_nonzero()) for mask in masks]
    return torch.tensor(counts, dtype=torch.float64, device=masks.device)


def _frame_accuracy(predicted: Tensor, true: Tensor, radius: int) -> float:
    """F of one frame, bool ``(H, W)`` each."""
    own, other = _cropped(boundary(predicted), boundary(true))
    count, true_count = int(own.sum()), int(other.sum())
    if not count or not true_count:
        return float(count == true_count)
    precision = int((own & dilate(other, radius)).sum()) / count
    recall = int((other & dilate(own, radius)).sum()) / true_count
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: Tensor) -> Tensor:
    """The boundary of a mask, one pixel wide, bool ``(H, W)``.

    A pixel belongs to it if its neighbour to the right, below or across has another value. The last row compares only
    to the right, the last column only downwards, and the last corner not at all.
    """
    edge = torch.zeros_like(mask)
    edge[:, :-1] = mask[:, :-1] ^ mask[:, 1:]
    edge[:-1] |= mask[:-1] ^ mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def dilate(mask: Tensor, radius: int) -> Tensor:
    """Every pixel at most ``radius`` pixels from one of the mask, by Euclid's distance, bool ``(H, W)``.

    A disk is a stack of horizontal bars, so the mask is widened step by step, and each width moved up and down to
    where the disk has it: a few dozen passes instead of one for each of the disk's pixels.
    """
    height, width = mask.shape
    wide = F.pad(mask, (radius,) * 4)
    center = wide[:, radius : radius + width].clone()
    grown, reach = torch.zeros_like(mask), 0
    for rise in range(radius, -1, -1):
        while reach < math.isqrt(radius**2 - rise**2):
            reach += 1
            center |= wide[:, radius - reach : radius - reach + width]
            center |= wide[:, radius + reach : radius + reach + width]
        grown |= center[radius - rise : radius - rise + height]
        grown |= center[radius + rise : radius + rise + height]
    return grown


def _cropped(own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps inside the box around what they have together: nothing else counts, and objects are small."""
    both = own | other
    rows, cols = both.any(1).nonzero().flatten(), both.any(0).nonzero().flatten()
    if not len(rows):
        return own, other
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)
    return own[box], other[box]


def _checked(prediction: Any, truth: Any) -> tuple[Tensor, Tensor]:
    predicted, true = (
        torch.from_numpy(m) if isinstance(m, np.ndarray) else m for m in (prediction, truth)
    )
    shapes = tuple(predicted.shape), tuple(true.shape)
    if predicted.ndim != 3 or shapes[0] != shapes[1]:
        raise ValueError(
            f"the masks have the shapes {shapes[0]} and {shapes[1]}; wanted (T, H, W) twice, one object's frames"
        )
    if predicted.dtype != torch.bool or true.dtype != torch.bool:
        raise ValueError(
            f"the masks are {predicted.dtype} and {true.dtype}, of the shape {shapes[0]}; wanted bool (T, H, W): "
            "compare a map of object numbers with one number first"
        )
    return predicted, true.to(predicted.device)


def _as_given(values: Tensor, like: Masks) -> Any:
    return values.numpy() if isinstance(like, np.ndarray) else values
