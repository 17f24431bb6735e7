"""SERE's relation losses from their formulas: one N x N map, one pair, one row at a time."""

import torch
from reference.overlap import overlap_lattice, sampling_matrix
from torch import Tensor

Grid = tuple[int, int]


def spatial_map(tokens: Tensor, num_heads: int) -> Tensor:
    """``(heads, N, N)`` of one view ``(N, C)``."""
    width = tokens.shape[1] // num_heads
    groups = [tokens[:, h * width : (h + 1) * width] for h in range(num_heads)]
    rows = [torch.stack([g @ token for token in g]) * width**-0.5 for g in groups]
    return torch.stack(rows)


def channel_map(tokens: Tensor) -> Tensor:
    """``(C, C)`` of one view ``(N, C)``."""
    size = len(tokens) ** 0.5
    channels = list((tokens / size).T)
    return torch.stack([torch.stack([(a * b).sum() for b in channels]) for a in channels])


def row_cross_entropy(
    student: Tensor, teacher: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Cross-entropy of one row, from exponentials."""
    target = torch.exp(teacher.detach() / teacher_temperature)
    prediction = torch.exp(student / student_temperature)
    return -(target / target.sum() * torch.log(prediction / prediction.sum())).sum()


def map_cross_entropy(
    student: Tensor, teacher: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Mean over all rows of two maps."""
    width = student.shape[-1]
    rows = zip(student.reshape(-1, width), teacher.reshape(-1, width), strict=True)
    losses = [row_cross_entropy(s, t, student_temperature, teacher_temperature) for s, t in rows]
    return torch.stack(losses).mean()


def resampled_map(tokens: Tensor, lattice: Tensor, num_heads: int, grid: Grid) -> Tensor:
    """The N x N map, resampled on the key axis and on the query axis: ``M R M^T``."""
    matrix = sampling_matrix(lattice, grid).to(tokens.dtype)
    return torch.stack([matrix @ r @ matrix.T for r in spatial_map(tokens, num_heads)])


def spatial_relation_loss(
    student: Tensor,
    teacher: Tensor,
    student_lattice: Tensor,
    teacher_lattice: Tensor,
    num_heads: int,
    student_grid: Grid,
    teacher_grid: Grid,
    teacher_temperature: float = 0.5,
    student_temperature: float = 1.0,
) -> Tensor:
    """One term over a batch."""
    losses = []
    for s, t, s_lattice, t_lattice in zip(
        student, teacher, student_lattice, teacher_lattice, strict=True
    ):
        student_map = resampled_map(s, s_lattice, num_heads, student_grid)
        teacher_map = resampled_map(t, t_lattice, num_heads, teacher_grid)
        losses.append(
            map_cross_entropy(student_map, teacher_map, student_temperature, teacher_temperature)
        )
    return torch.stack(losses).mean()


def channel_relation_loss(
    student: Tensor,
    teacher: Tensor,
    teacher_temperature: float = 0.1,
    student_temperature: float = 1.0,
) -> Tensor:
    """One term over a batch."""
    losses = [
        map_cross_entropy(channel_map(s), channel_map(t), student_temperature, teacher_temperature)
        for s, t in zip(student, teacher, strict=True)
    ]
    return torch.stack(losses).mean()


def multi_view_losses(
    student_views: list[Tensor],
    teacher_views: list[Tensor],
    boxes: Tensor,
    num_heads: int,
    grids: tuple[Grid, Grid],
    sides: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Spatial and channel loss over all (teacher view q, student view v) with q != v.

    Args:
        student_views: V global views ``(B, N, C)``, then L local ones ``(B, n, C)``.
        teacher_views: V global views ``(B, N, C)``.
        boxes: ``(B, V+L, 5)``.
        num_heads: groups of channels.
        grids: of global and of local views.
        sides: of the lattices between global views, and between a local and a global view.

    Returns:
        Two scalars.
    """
    spatial, channel = [], []
    for q, teacher in enumerate(teacher_views):
        for v, student in enumerate(student_views):
            if q == v:
                continue
            kind = int(v >= len(teacher_views))
            teacher_lattice, student_lattice = overlap_lattice(
                boxes[:, q], boxes[:, v], sides[kind]
            )
            lattices = student_lattice, teacher_lattice
            spatial.append(
                spatial_relation_loss(student, teacher, *lattices, num_heads, grids[kind], grids[0])
            )
            channel.append(channel_relation_loss(student, teacher))
    return torch.stack(spatial).mean(), torch.stack(channel).mean()
