"""Self-relations of a view, and the losses that compare them between views.

SERE, "Exploring Feature Self-relation for Self-supervised Transformer" (TPAMI 2023, arXiv 2206.05184),
section 3: spatial relation (token by token, per head) and channel relation (channel by channel). What differs from
the usual implementation, with equal numbers: relations are formed from tokens sampled on the lattice of the overlap,
``(M T)(M T)^T`` instead of ``M (T T^T) M^T``; teachers that share a student view are merged before one
cross-entropy. The channel relation is divided by the token count, which is the constant of the published code for its
two crop sizes. :mod:`mmrel.ops.relation_autograd` computes the losses piece by piece in float32 or better;
:mod:`mmrel.ops.relation_attention` does so with attention kernels, under autocast on a GPU that has them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmrel.ops.attention_kernels import kernel_dtype
from mmrel.ops.distillation import check_temperature
from mmrel.ops.overlap import sample_selected_tokens
from mmrel.ops.precision import upcast, without_autocast
from mmrel.ops.relation_attention import ChannelAttention, SpatialAttention
from mmrel.ops.relation_autograd import ChannelCrossEntropy, SpatialCrossEntropy

Grid = tuple[int, int]


def spatial_relation(tokens: Tensor, num_heads: int) -> Tensor:
    """Inner products of all pairs of tokens, per group of channels, divided by sqrt(C / heads).

    Args:
        tokens: ``(B, N, C)``.
        num_heads: groups of C / heads neighbouring channels.

    Returns:
        ``(B, heads, N, N)`` in the dtype of ``tokens``, computed in float32 or better.

    Raises:
        ValueError: tokens of another rank, or heads that do not divide C.
    """
    _check_tokens(tokens, "tokens")
    check_heads(tokens.shape[2], num_heads)
    with without_autocast(tokens):
        parts = upcast(tokens).unflatten(2, (num_heads, -1)).transpose(1, 2)
        relation = torch.matmul(parts * parts.shape[-1] ** -0.5, parts.transpose(2, 3))
    return relation.to(tokens.dtype)


def channel_relation(tokens: Tensor) -> Tensor:
    """Inner products of all pairs of channels over the tokens, divided by the number of tokens.

    Args:
        tokens: ``(B, N, C)``.

    Returns:
        ``(B, C, C)`` in the dtype of ``tokens``, computed in float32 or better.

    Raises:
        ValueError: tokens of another rank.
    """
    _check_tokens(tokens, "tokens")
    with without_autocast(tokens):
        full = upcast(tokens)
        relation = torch.matmul(full.transpose(1, 2) / full.shape[1], full)
    return relation.to(tokens.dtype)


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
    """One term of the spatial loss: a student view against a teacher view on their overlap.

    Args:
        student: ``(B, N, C)``.
        teacher: ``(B, M, C)``; it gets no gradient.
        student_lattice: ``(B, S, S, 2)``, the overlap in the student's view.
        teacher_lattice: ``(B, S, S, 2)``, the overlap in the teacher's view.
        num_heads: groups of channels.
        student_grid: (rows, cols) of the student's tokens.
        teacher_grid: (rows, cols) of the teacher's tokens.
        teacher_temperature: greater than 0.
        student_temperature: greater than 0.

    Returns:
        Scalar: mean over images, heads and lattice points. Images without overlap contribute ln(S * S) and no gradient.

    Raises:
        ValueError: shapes, grids, heads or temperatures that do not fit.
    """
    _check_pair(student, teacher)
    images = torch.arange(len(student), device=student.device)
    return matched_spatial_loss(
        sample_selected_tokens(student, images, student_lattice, student_grid),
        sample_selected_tokens(teacher.detach(), images, teacher_lattice, teacher_grid),
        num_heads,
        teacher_temperature,
        student_temperature,
    )


def matched_spatial_loss(
    student: Tensor,
    teacher: Tensor,
    num_heads: int,
    teacher_temperature: float = 0.5,
    student_temperature: float = 1.0,
) -> Tensor:
    """Cross-entropy of the spatial relations of tokens that are already matched point by point.

    Args:
        student: ``(n, P, C)``, tokens of a student view at P places.
        teacher: ``(n, P, C)``, tokens of a teacher view at the same places.
        num_heads: groups of channels.
        teacher_temperature: greater than 0.
        student_temperature: greater than 0.

    Returns:
        Scalar: mean over pairs, heads and places.
    """
    _check_tokens(student, "student")
    if student.shape != teacher.shape:
        raise ValueError(
            f"sampled student tokens have shape {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}; "
            "both must be (B, S*S, C): use lattices of one side, equal batches and equal widths"
        )
    scales = _spatial_scales(student, num_heads, teacher_temperature, student_temperature)
    dtype = kernel_dtype(student, student.shape[2] // num_heads)
    with without_autocast(student):
        if dtype is not None:
            targets = teacher.detach().to(dtype)[None]
            return SpatialAttention.apply(student[None], None, (0,), targets, num_heads, scales)
        return SpatialCrossEntropy.apply(
            upcast(student), _like(teacher, student), num_heads, scales
        )


def sampled_spatial_loss(
    student: Tensor,
    matrices: Tensor,
    views: Sequence[int],
    teacher: Tensor,
    num_heads: int,
    teacher_temperature: float = 0.5,
    student_temperature: float = 1.0,
) -> Tensor:
    """:func:`matched_spatial_loss` of a student's tokens that matrices sample, by attention kernels only.

    Args:
        student: ``(V, B, N, C)``.
        matrices: ``(pairs, B, P, N)`` of :func:`mmrel.ops.sampling_matrices.sampling_matrices`, in the dtype of
            :func:`mmrel.ops.attention_kernels.kernel_dtype`.
        views: the student view of each pair.
        teacher: ``(..., P, C)``, tokens of the teacher's view at the same places; its leading axes are those of the
            pairs, then B.
        num_heads: groups of channels.
        teacher_temperature: greater than 0.
        student_temperature: greater than 0.

    Returns:
        Scalar: mean over pairs, images, heads and places.
    """
    scales = _spatial_scales(student, num_heads, teacher_temperature, student_temperature)
    targets = teacher.detach().to(matrices.dtype)
    with without_autocast(student):
        return SpatialAttention.apply(student, matrices, tuple(views), targets, num_heads, scales)


def _spatial_scales(
    student: Tensor, num_heads: int, teacher_temperature: float, student_temperature: float
) -> tuple[float, float]:
    """Factors of the inner products of the student's and of the teacher's tokens."""
    check_heads(student.shape[-1], num_heads)
    check_temperature(teacher_temperature, "teacher_temperature")
    check_temperature(student_temperature, "student_temperature")
    scale = (student.shape[-1] // num_heads) ** -0.5
    return scale / student_temperature, scale / teacher_temperature


def channel_relation_loss(
    student: Tensor,
    teacher: Tensor,
    teacher_temperature: float = 0.1,
    student_temperature: float = 1.0,
) -> Tensor:
    """One term of the channel loss: a student view against a teacher view, wherever they lie.

    Args:
        student: ``(B, N, C)``.
        teacher: ``(B, M, C)``; it gets no gradient.
        teacher_temperature: greater than 0.
        student_temperature: greater than 0.

    Returns:
        Scalar: mean over images and channels.

    Raises:
        ValueError: shapes or temperatures that do not fit.
    """
    _check_pair(student, teacher)
    return merged_channel_loss(
        [student[None]], teacher[None], [(0,)], teacher_temperature, student_temperature
    )


def merged_channel_loss(
    students: list[Tensor],
    teacher: Tensor,
    targets: list[tuple[int, ...]],
    teacher_temperature: float = 0.1,
    student_temperature: float = 1.0,
) -> Tensor:
    """Channel loss of groups of student views, the teachers of a group merged.

    Args:
        students: for each group, k views ``(k, B, n, C)``; k and n may differ between groups.
        teacher: ``(V, B, M, C)``, the teacher's views; it gets no gradient.
        targets: for each group, the indices of the teacher views that its views are compared with.
        teacher_temperature: greater than 0.
        student_temperature: greater than 0.

    Returns:
        Scalar: mean over all (teacher view, student view) pairs, images and channels.
    """
    for student in students:
        if (
            student.dim() != 4
            or teacher.dim() != 4
            or _batch_width(student) != _batch_width(teacher)
        ):
            raise ValueError(
                f"student views have shape {tuple(student.shape)} and the teacher's {tuple(teacher.shape)}; "
                "they must be (views, B, N, C) and (views, B, M, C): only the number of views and of tokens may differ"
            )
    check_temperature(teacher_temperature, "teacher_temperature")
    check_temperature(student_temperature, "student_temperature")
    temperatures = student_temperature, teacher_temperature
    dtype = kernel_dtype(teacher, *(student.shape[2] for student in students))
    with without_autocast(teacher):
        if dtype is not None:
            full_teacher = upcast(teacher.detach())
            return ChannelAttention.apply(full_teacher, temperatures, targets, dtype, *students)
        full = [upcast(student) for student in students]
        return ChannelCrossEntropy.apply(_like(teacher, full[0]), temperatures, targets, *full)


def check_heads(channels: int, num_heads: int) -> None:
    """Raise ``ValueError`` unless the heads divide the width."""
    if num_heads < 1 or channels % num_heads:
        divisors = [n for n in range(1, channels + 1) if channels % n == 0]
        raise ValueError(
            f"num_heads is {num_heads}, which does not divide the width {channels}; choose one of {divisors}"
        )


def _check_tokens(tokens: Tensor, name: str) -> None:
    if tokens.dim() != 3:
        raise ValueError(f"{name} has shape {tuple(tokens.shape)}; it must be (B, N, C)")


def _check_pair(student: Tensor, teacher: Tensor) -> None:
    _check_tokens(student, "student")
    _check_tokens(teacher, "teacher")
    if student.shape[::2] != teacher.shape[::2]:
        raise ValueError(
            f"student has shape {tuple(student.shape)} and teacher {tuple(teacher.shape)}; "
            "they must be (B, N, C) and (B, M, C): only the number of tokens may differ"
        )


def _batch_width(views: Tensor) -> tuple[int, int]:
    return views.shape[1], views.shape[3]


def _like(teacher: Tensor, student: Tensor) -> Tensor:
    """The teacher's tokens without gradient, in the dtype in which the student's are computed."""
    return teacher.detach().to(upcast(student).dtype)
