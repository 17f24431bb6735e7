"""Overlap lattices and token sampling from the formulas of SERE, point by point in plain Python."""

import math

import torch
from torch import Tensor


def overlap_lattice(query: Tensor, key: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Lattices ``(B, S, S, 2)`` for boxes ``(B, 5)``."""
    pairs = [_lattices(q.tolist(), k.tolist(), side) for q, k in zip(query, key, strict=True)]
    return torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])


def _lattices(query: list[float], key: list[float], side: int) -> tuple[Tensor, Tensor]:
    x0, y0 = max(query[0], key[0]), max(query[1], key[1])
    x1 = min(query[0] + query[2], key[0] + key[2])
    y1 = min(query[1] + query[3], key[1] + key[3])
    lattices = torch.full((2, side, side, 2), -2.0, dtype=torch.float64)
    if not (x0 < x1 and y0 < y1):
        return lattices[0], lattices[1]
    for lattice, (x, y, width, height, flip) in zip(lattices, (query, key), strict=True):
        for row in range(side):
            for col in range(side):
                u = ((x0 - x) + (x1 - x0) * col / (side - 1)) / width
                t = ((y0 - y) + (y1 - y0) * row / (side - 1)) / height
                u = 1 - u if flip else u
                lattice[row, col, 0], lattice[row, col, 1] = 2 * u - 1, 2 * t - 1
    return lattices[0], lattices[1]


def sampling_matrix(lattice: Tensor, grid: tuple[int, int]) -> Tensor:
    """The matrix ``(S*S, N)`` that samples a token map bilinearly at a lattice ``(S, S, 2)``."""
    rows, cols = grid
    points = lattice.reshape(-1, 2).tolist()
    matrix = torch.zeros(len(points), rows * cols, dtype=torch.float64)
    for index, (x, y) in enumerate(points):
        px, py = ((x + 1) * cols - 1) / 2, ((y + 1) * rows - 1) / 2
        for row in (math.floor(py), math.floor(py) + 1):
            for col in (math.floor(px), math.floor(px) + 1):
                if 0 <= row < rows and 0 <= col < cols:
                    matrix[index, row * cols + col] += (1 - abs(py - row)) * (1 - abs(px - col))
    return matrix


def sample_tokens(tokens: Tensor, lattice: Tensor, grid: tuple[int, int]) -> Tensor:
    """Samples ``(B, S*S, C)`` of tokens ``(B, N, C)``."""
    matrices = [sampling_matrix(one, grid) for one in lattice]
    return torch.stack([m.to(t.dtype) @ t for m, t in zip(matrices, tokens, strict=True)])
