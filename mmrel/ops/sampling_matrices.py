"""Bilinear sampling as a matrix product, for devices with fast products.

Where :func:`mmrel.ops.overlap.sample_selected_tokens` gathers four tokens per point, this forms the matrix
``(P, N)`` of their weights. Sampling is then one product, and so is its gradient, which a gather makes by sorting its
indices.
"""

import torch
from torch import Tensor

from mmrel.ops.precision import upcast


def sampling_matrices(lattice: Tensor, grid: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Weights of the tokens at the points of lattices, with zero padding and ``align_corners=False``.

    Args:
        lattice: ``(..., S, S, 2)``, ``(x, y)`` in [-1, 1].
        grid: ``(rows, cols)`` of the tokens.
        dtype: of the result; weights are computed in float32 or better.

    Returns:
        ``(..., S*S, rows * cols)``.
    """
    points = upcast(lattice).flatten(-3, -2)
    rows, cols = grid
    if rows == cols:
        x, y = _hats(points, rows).unbind(-2)
    else:
        x, y = _hats(points[..., 0], cols), _hats(points[..., 1], rows)
    matrices = torch.empty((*points.shape[:-1], *grid), dtype=dtype, device=points.device)
    torch.mul(y[..., :, None], x[..., None, :], out=matrices)
    return matrices.flatten(-2)


def _hats(position: Tensor, size: int) -> Tensor:
    """For coordinates in [-1, 1], weights of the tokens on one axis: 1 at a token's centre, 0 at its neighbours'."""
    # -1 and 1 are the outer borders of the first and the last token. Tokens beyond them do not
    # exist, hence the zero padding.
    half = (size - 1) / 2
    centres = torch.arange(-half, half + 1, device=position.device, dtype=position.dtype)
    distance = position[..., None] * (size / 2) - centres
    return (1 - distance.abs_()).clamp_min_(0)


__all__ = ["sampling_matrices"]
