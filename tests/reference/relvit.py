"""RelViT (arXiv 2206.00481) as it is described: one pair, one patch, one image at a time, with torchvision."""

import math
from functools import cache

import numpy as np
import torch
import torchvision.transforms.v2.functional as tv
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import functional as tv1

from mmrel.ops.color_table import JITTER_ORDERS, ColorColumn

NAMES = {
    ("left", "up"): 0, ("same", "up"): 1, ("right", "up"): 2,
    ("left", "same"): 3, ("same", "same"): 4, ("right", "same"): 5,
    ("left", "down"): 6, ("same", "down"): 7, ("right", "down"): 8,
}  # fmt: skip


def relation(i: int, j: int, side: int) -> int:
    """Where patch i lies as seen from patch j."""
    (row_i, col_i), (row_j, col_j) = divmod(i, side), divmod(j, side)
    across = "left" if col_i < col_j else "right" if col_i > col_j else "same"
    along = "up" if row_i < row_j else "down" if row_i > row_j else "same"
    return NAMES[across, along]


def distance(i: int, j: int, side: int) -> float:
    """Euclidean, in [-1, 1]."""
    (row_i, col_i), (row_j, col_j) = divmod(i, side), divmod(j, side)
    largest = math.sqrt(2) * (side - 1)
    return 2 * math.sqrt((row_i - row_j) ** 2 + (col_i - col_j) ** 2) / largest - 1


def raw_angle(i: int, j: int, side: int) -> float:
    """In units of pi, before scaling; in float32, as the public code computes it."""
    if i == j:
        return 0.0
    (row_i, col_i), (row_j, col_j) = divmod(i, side), divmod(j, side)
    a = np.array([col_i, row_i], np.float32) + np.float32(side / 2)
    b = np.array([col_j, row_j], np.float32) + np.float32(side / 2)
    norms = np.sqrt((a * a).sum()) * np.sqrt((b * b).sum())
    return float(np.arccos((a * b).sum() / (norms + np.float32(1e-4)))) / math.pi


def angle(i: int, j: int, side: int) -> float:
    """In [-1, 1]."""
    return 2 * raw_angle(i, j, side) / largest_angle(side) - 1


@cache
def largest_angle(side: int) -> float:
    """Of all pairs, before scaling."""
    return max(raw_angle(a, b, side) for a in range(side**2) for b in range(side**2))


def table(function: object, side: int, order: list[int] | None = None) -> Tensor:
    """All pairs ``(N, N)`` of a function above, of permuted patches if an order is given."""
    order = list(range(side**2)) if order is None else order
    return torch.tensor([[function(i, j, side) for j in order] for i in order])


def relation_loss(
    tokens: Tensor, query: Tensor, key: Tensor, targets: Tensor, smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy over images and pairs.

    Args:
        tokens: ``(B, N, C)``.
        query: ``(9, d, C)``, the maps of the nine heads.
        key: the same.
        targets: ``(B, N, N)``, a class for every pair of every image.
        smoothing: of the labels.
    """
    losses = []
    for image, classes in zip(tokens, targets, strict=True):
        for i, z_i in enumerate(image):
            for j, z_j in enumerate(image):
                scores = torch.stack(
                    [
                        (q @ z_i) @ (k @ z_j) / math.sqrt(len(q))
                        for q, k in zip(query, key, strict=True)
                    ]
                )
                negative = torch.log(torch.exp(scores).sum()) - scores
                own = negative[int(classes[i, j])]
                losses.append((1 - smoothing) * own + smoothing * negative.mean())
    return torch.stack(losses).mean()


def pair_mse(tokens: Tensor, query: Tensor, key: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of one score per pair; maps ``(d, C)``, targets ``(N, N)``."""
    errors = [
        ((query @ image[i]) @ (key @ image[j]) / math.sqrt(len(query)) - targets[i, j]) ** 2
        for image in tokens
        for i in range(len(image))
        for j in range(len(image))
    ]
    return torch.stack(errors).mean()


def position_loss(tokens: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of every patch of every image; targets ``(B, N)``."""
    losses = []
    for image, places in zip(tokens, targets, strict=True):
        for token, place in zip(image, places, strict=True):
            logits = weight @ token + bias
            losses.append(torch.log(torch.exp(logits).sum()) - logits[int(place)])
    return torch.stack(losses).mean()


def split(image: Tensor, size: int) -> list[Tensor]:
    """The patches of an image ``(3, H, W)``, row by row."""
    rows, cols = image.shape[1] // size, image.shape[2] // size
    return [
        image[:, r * size : (r + 1) * size, c * size : (c + 1) * size]
        for r in range(rows)
        for c in range(cols)
    ]


def merge(patches: list[Tensor], rows: int) -> Tensor:
    """An image from its patches."""
    cols = len(patches) // rows
    return torch.cat(
        [torch.cat(patches[r * cols : (r + 1) * cols], dim=2) for r in range(rows)], dim=1
    )


def resize(image: Tensor, size: int) -> Tensor:
    """Bilinear, without antialiasing."""
    return tv.resize(image, [size, size], antialias=False)


def augment_patch(patch: Tensor, offset: Tensor, side: int, row: np.ndarray) -> Tensor:
    """Crop, enlarge, and colour one patch with torchvision's operators for float tensors."""
    size = patch.shape[-1]
    patch = resize(tv1.crop(patch, int(offset[0]), int(offset[1]), side, side), size)
    jitter = (tv1.adjust_brightness, tv1.adjust_contrast, tv1.adjust_saturation, tv1.adjust_hue)
    values = [float(value) for value in row]
    if values[:4] != [1.0, 1.0, 1.0, 0.0]:
        for operation in JITTER_ORDERS[int(values[ColorColumn.ORDER])]:
            patch = jitter[operation](patch, values[operation])
    return tv1.rgb_to_grayscale(patch, 3) if values[ColorColumn.GRAYSCALE] else patch


def mega_patches(image: Tensor, rows: list[int], cols: list[int], size: int) -> Tensor:
    """Cut an image at these pixels and resize every rectangle to one patch."""
    parts = [
        F.interpolate(
            image[None, :, rows[r] : rows[r + 1], cols[c] : cols[c + 1]],
            (size, size),
            mode="bilinear",
        )[0]
        for r in range(len(rows) - 1)
        for c in range(len(cols) - 1)
    ]
    return merge(parts, len(rows) - 1)
