"""Resizing of a position embedding as products with matrices of tensor operations alone, for graphs that are exported.

The values are those of :func:`mmrel.ops.position.resize_position_embedding`, to float32's rounding. There, torch's
``interpolate`` is called for grids that are Python numbers, and left out where the grid stays the same. An exported
graph (torch.jit.trace, torch.export, ONNX) with a free image size knows no number and takes no branch: here the wanted
size may be symbolic, and the matrix of an axis that keeps its size is the identity.
"""

import torch
from torch import Tensor

from mmrel.ops.position import DINO_OFFSET
from mmrel.ops.precision import upcast

SHARP, SMOOTH = -0.75, -0.5
"""The parameter a of the cubic kernel (Keys, 1981) that torch has without and with antialiasing."""


def resized_positions(
    position: Tensor, source: tuple[int, int], rows: int, cols: int, method: str
) -> Tensor:
    """Positions of patches on another grid.

    Args:
        position: ``(1, N, C)`` of N = rows * cols patches of ``source``, row-major, without extra tokens.
        source: (rows, cols) of ``position``.
        rows: wanted, symbolic where the graph is to take several.
        cols: likewise.
        method: ``'size'``, ``'dino'`` or ``'antialias'``, see :mod:`mmrel.ops.position`.

    Returns:
        ``(1, rows * cols, C)``.
    """
    dtype, device = upcast(position[:, :0]).dtype, position.device
    places = [torch.arange(n, dtype=dtype, device=device) for n in (rows, cols)]
    counts = [torch.ones_like(place).sum() for place in places]
    if method == "dino":
        same = (counts[0] == source[0]) & (counts[1] == source[1])
        counts = [torch.where(same, count, count + DINO_OFFSET) for count in counts]
    row_weights, column_weights = (
        axis_matrix(place, given, given / count, method == "antialias").to(position.dtype)
        for place, given, count in zip(places, source, counts, strict=True)
    )
    maps = position[0].unflatten(0, source)
    maps = torch.tensordot(row_weights, maps, dims=([1], [0]))
    maps = torch.tensordot(column_weights, maps, dims=([1], [1]))  # (cols, rows, C)
    return maps.transpose(0, 1).flatten(0, 1)[None]


def axis_matrix(place: Tensor, given: int, scale: Tensor, antialias: bool) -> Tensor:
    """What each sample of an axis takes from each of its values.

    Args:
        place: float ``(wanted,)``: 0, 1, ...
        given: number of values.
        scale: values per sample; sample i lies at ``(i + 0.5) * scale - 0.5``.
        antialias: whether the kernel widens with the scale, and loses what lies outside; otherwise the first and the
            last value go on outside.

    Returns:
        float ``(wanted, given)``, rows summing to 1.
    """
    center = ((place + 0.5) * scale - 0.5)[:, None]
    values = torch.arange(given, dtype=place.dtype, device=place.device)
    if antialias:
        weights = _cubic((values - center) / scale.clamp(min=1), SMOOTH)
        return weights / weights.sum(1, keepdim=True)
    first = center.floor()
    matrix = torch.zeros_like(center) * values
    for step in (-1, 0, 1, 2):
        near = first + step
        inside = near.clamp(0, given - 1) == values
        matrix = matrix + torch.where(inside, _cubic(near - center, SHARP), torch.zeros_like(near))
    return matrix


def _cubic(distance: Tensor, a: float) -> Tensor:
    x = distance.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
