"""Tokens of pairs of crops at the places that both crops show (SERE, arXiv 2206.05184, section 3.2)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmrel.ops.attention_kernels import kernel_dtype
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


def matched_tokens(
    crops: Crops,
    targets: Crops,
    pairs: Sequence[tuple[int, int]],
    lattice: Tensor,
    target_lattice: Tensor,
) -> tuple[Tensor, Tensor]:
    """Tokens of both crops of all pairs at the points of their lattices.

    Args:
        crops: the student's views.
        targets: the teacher's views.
        pairs: (teacher view q, student view v), sorted by q, every q equally often.
        lattice: ``(pairs * B, S, S, 2)``, the overlap in the student's views, pair-major.
        target_lattice: the same in the teacher's views.

    Returns:
        ``(pairs * B, S*S, C)`` of the student and of the teacher, in float32 or better, or in half precision where the
        relations are computed in it.
    """
    dtype = kernel_dtype(crops.tokens)
    if dtype is None:
        teacher_views, student_views = zip(*pairs, strict=True)
        return crops.sample(student_views, lattice), targets.sample(teacher_views, target_lattice)
    num_targets, batch = targets.boxes.shape[:2]
    per_target = len(pairs) // num_targets
    with without_autocast(crops.tokens):
        views = crops.tokens.to(dtype).unflatten(0, (-1, batch)).unbind()
        selected = torch.cat([views[v] for _, v in pairs])
        student = torch.bmm(sampling_matrices(lattice, crops.grid, dtype), selected)
        # (q, v, b) -> (q * b, v): all lattices on one map are rows of one matrix, which reads it once.
        lattices = target_lattice.unflatten(0, (num_targets, per_target, batch)).transpose(1, 2)
        matrices = sampling_matrices(lattices.flatten(0, 1), targets.grid, dtype).flatten(1, 2)
        teacher = torch.bmm(matrices, targets.tokens.to(dtype))
        teacher = teacher.unflatten(0, (num_targets, batch)).unflatten(2, (per_target, -1))
        return student, teacher.transpose(1, 2).flatten(0, 2)


__all__ = ["Crops", "matched_tokens"]
