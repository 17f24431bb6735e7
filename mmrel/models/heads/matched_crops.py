"""Tokens of pairs of crops at the places that both crops show (SERE, arXiv 2206.05184, section 3.2)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmrel.ops.overlap import sample_selected_tokens
from mmrel.ops.precision import without_autocast
from mmrel.ops.sampling_matrices import sampling_matrices


class Crops(NamedTuple):
    """A group of same-size views: tokens ``(n*B, N, C)``, their grid, and boxes ``(n, B, 5)``."""

    tokens: Tensor
    grid: tuple[int, int]
    boxes: Tensor

    def boxes_of(self, indices: Sequence[int]) -> Tensor:
        """Boxes ``(len(indices) * B, 5)`` of these views, view-major."""
        return torch.cat([self.boxes[i] for i in indices])

    def sample(self, indices: Sequence[int], lattice: Tensor) -> Tensor:
        """Tokens ``(len(indices) * B, S*S, C)`` of these views on their lattices."""
        # A view may take part in several pairs. Its tokens are not repeated: each lattice names the
        # map that it reads.
        maps = torch.arange(len(self.tokens), device=self.tokens.device).view(len(self.boxes), -1)
        selected = torch.cat([maps[i] for i in indices])
        return sample_selected_tokens(self.tokens, selected, lattice, self.grid)


def teacher_products(
    targets: Crops, lattice: Tensor, per_target: int, dtype: torch.dtype
) -> Tensor:
    """What :meth:`Crops.sample` gives, by matrix products.

    Args:
        targets: V views.
        lattice: ``(V * r * B, S, S, 2)``, the lattices on each view in turn.
        per_target: r, lattices per view and image.
        dtype: of the products.

    Returns:
        ``(V, r, B, S*S, C)``.
    """
    num_targets, batch = targets.boxes.shape[:2]
    # (q, v, b) -> (q * b, v): all lattices on one map are rows of one matrix, which reads it once.
    lattices = lattice.unflatten(0, (num_targets, per_target, batch)).transpose(1, 2)
    matrices = sampling_matrices(lattices.flatten(0, 1), targets.grid, dtype).flatten(1, 2)
    with without_autocast(lattice):
        tokens = torch.bmm(matrices, targets.tokens.to(dtype))
    tokens = tokens.unflatten(0, (num_targets, batch)).unflatten(2, (per_target, -1))
    return tokens.transpose(1, 2)


__all__ = ["Crops", "teacher_products"]
