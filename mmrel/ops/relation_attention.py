"""Cross-entropies between relation maps that never write a student's map to memory.

The notation is that of :mod:`mmrel.ops.relation_autograd`: ``s = a X X^T``, p = softmax(s), q a teacher's softmax, and
D = p - q. What is needed of the maps are their products with X and the log-sum-exp of their rows::

    loss = sum_i lse_i - <q_i, s_i>,    sum_i <q_i, s_i> = a/2 <X, (Q + Q^T) X>,
    d loss / d X = a (P + P^T - Q - Q^T) X

P X is attention of X on itself. As s is symmetric, P^T X is attention too: ``p_ji = exp(s_ij - lse_j)``, a softmax over
j of the shifted ``s_ij - lse_j`` times the sum of its exponentials. The shift is part of the inner products: two more
components, which hold a constant in the queries and the parts of ``-lse_j`` in the keys.

Tokens come in any dtype; the one in which the kernels compute is named. Gradients are stored without the factor of the
mean over rows, since half precision would lose numbers so small.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmrel.ops.attention_kernels import SHIFT_PARTS, attention, padded_width
from mmrel.ops.pieces import pieces


def widened(x: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """Copies of vectors as queries and as keys, with constants for the shift and zeros behind them.

    Args:
        x: ``(..., I, heads, F)``.
        scale: of the inner products.
        dtype: of the copies.

    Returns:
        ``(2, B, heads, I, F')``, the leading axes of ``x`` flattened to B.
    """
    *batch, count, heads, width = x.shape
    wide = x.new_empty((2, *batch, count, heads, padded_width(width)), dtype=dtype)
    wide[..., :width] = x
    wide[..., width : width + SHIFT_PARTS] = _constant(scale)
    wide[..., width + SHIFT_PARTS :] = 0
    return wide.flatten(1, -4).transpose(2, 3)


def _constant(scale: float) -> float:
    """A power of two: large, to keep the shift in float16's range, but adding at most 4 to the logits."""
    return 2.0 ** math.floor(math.log2(2 / scale) / 2)


def products_both_ways(
    wide: Tensor, values: Tensor, width: int, scale: float
) -> tuple[Tensor, Tensor]:
    """The log-sum-exp of the rows of ``S = scale * X X^T``, and ``(P + P^T) V`` with P = softmax(S).

    Args:
        wide: :func:`widened` X; the keys are overwritten.
        values: V ``(B, heads, I, F')``, the queries of :func:`widened` V.
        width: F, before the widening.
        scale: a.

    Returns:
        ``(B, heads, I)`` in float32 or better, and ``(B, heads, I, F)`` in the dtype of ``wide``.
    """
    query, key = wide.unbind()
    constant = _constant(scale)
    # The constants add the same number to all logits, which no softmax sees.
    rows, sums = attention(query, query, values, scale)
    sums = sums - SHIFT_PARTS * constant**2 * scale
    shift = sums * (-1 / (constant * scale))
    key[..., width] = leading = _leading_bits(shift)
    key[..., width + 1] = shift - leading
    columns, log_factors = attention(query, key, values, scale)
    factors = log_factors.exp()[..., None].to(rows.dtype)
    return sums, rows[..., :width].addcmul_(columns[..., :width], factors)


def _leading_bits(numbers: Tensor) -> Tensor:
    # By its bits, not by a cast to bfloat16 and back: compilers remove such pairs of casts.
    bits = numbers.float().view(torch.int32).bitwise_and(-(2**16))
    return bits.view(torch.float32).to(numbers.dtype)


class SpatialAttention(torch.autograd.Function):
    """Mean cross-entropy of token-by-token relation maps of views, at the places that both show."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        matrices: Tensor | None,
        views: Sequence[int],
        teacher: Tensor,
        num_heads: int,
        scales: tuple[float, float],
    ) -> Tensor:
        """Loss of pairs (student view, teacher view) of B images.

        Args:
            ctx: autograd's.
            student: ``(V, B, N, C)``.
            matrices: ``(pairs, B, P, N)`` in the dtype of the kernels: they sample the student's tokens at P places;
                or ``None`` if the tokens are at their places already, V = pairs and N = P.
            views: the student view of each pair.
            teacher: ``(..., P, C)`` in the dtype of the kernels, at the same places; its leading axes are those of the
                pairs, then B.
            num_heads: h, contiguous groups of channels.
            scales: a of the student's and of the teacher's maps.

        Returns:
            Mean over pairs, images, heads and rows, in float32 or better.
        """
        tokens = student.to(teacher.dtype)
        sampled = tokens if matrices is None else _sample(tokens, matrices, views)
        total, slope = _spatial_sum(_flat(sampled), teacher, num_heads, scales)
        slope = slope.unflatten(0, sampled.shape[:2])
        gradient = slope if matrices is None else _sample_backward(slope, tokens, matrices, views)
        rows = sampled[..., 0].numel() * num_heads
        ctx.factor = scales[0] / rows
        ctx.save_for_backward(gradient.to(student.dtype))
        return total / rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the stored gradient."""
        (gradient,) = ctx.saved_tensors
        return gradient * (upstream * ctx.factor), None, None, None, None, None


def _spatial_sum(
    student: Tensor, teacher: Tensor, num_heads: int, scales: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Summed loss of tokens ``(n, P, C)`` against those at the same places, and its gradient without ``scales[0]``.

    The teacher's tokens are ``(..., P, C)``, with leading axes of n in all.
    """
    x, t = (tokens.unflatten(-1, (num_heads, -1)) for tokens in (student, teacher))
    wide, width = widened(x, scales[0], x.dtype), x.shape[-1]
    sums, own = products_both_ways(wide, wide[0], width, scales[0])
    _, target = products_both_ways(widened(t, scales[1], x.dtype), wide[0], width, scales[1])
    cross = (x.transpose(1, 2) * target).sum(dtype=sums.dtype)
    return sums.sum() - scales[0] / 2 * cross, (own - target).transpose(1, 2).flatten(2)


def _sample(tokens: Tensor, matrices: Tensor, views: Sequence[int]) -> Tensor:
    """``(V, B, N, C)`` to ``(pairs, B, P, C)``."""
    sampled = tokens.new_empty(*matrices.shape[:3], tokens.shape[3])
    for pairs, run, _ in _runs(views):
        torch.bmm(_flat(matrices[pairs]), _flat(tokens[run]), out=_flat(sampled[pairs]))
    return sampled


def _sample_backward(
    slope: Tensor, tokens: Tensor, matrices: Tensor, views: Sequence[int]
) -> Tensor:
    unused = len(set(views)) < len(tokens)
    gradient = torch.zeros_like(tokens) if unused else torch.empty_like(tokens)
    for pairs, run, is_first in _runs(views):
        factors = _flat(matrices[pairs]).transpose(1, 2), _flat(slope[pairs])
        if is_first:
            torch.bmm(*factors, out=_flat(gradient[run]))
        else:
            _flat(gradient[run]).baddbmm_(*factors)
    return gradient


def _runs(views: Sequence[int]) -> Iterator[tuple[slice, slice, bool]]:
    """Neighbouring pairs whose views are neighbours too: slices of pairs and of views, and if the views are new."""
    is_first = [view not in views[:pair] for pair, view in enumerate(views)]
    start = 0
    for end in range(1, len(views) + 1):
        if (
            end == len(views)
            or views[end] != views[end - 1] + 1
            or is_first[end] != is_first[start]
        ):
            yield slice(start, end), slice(views[start], views[end - 1] + 1), is_first[start]
            start = end


def _flat(views: Tensor) -> Tensor:
    return views.flatten(0, 1)


class ChannelAttention(torch.autograd.Function):
    """Mean cross-entropy of channel-by-channel relation maps, teachers merged per student view."""

    @staticmethod
    def forward(
        ctx: Any,
        teacher: Tensor,
        temperatures: tuple[float, float],
        targets: Sequence[tuple[int, ...]],
        dtype: torch.dtype,
        *students: Tensor,
    ) -> Tensor:
        """Loss of groups of student views.

        Args:
            ctx: autograd's.
            teacher: ``(V, B, M, C)`` in float32 or better.
            temperatures: of the student and of the teacher.
            targets: for each group, the teacher views that it is compared with.
            dtype: of the kernels.
            students: for each group, its views ``(k, B, n, C)``.

        Returns:
            Mean over (teacher view, student view) pairs, images and rows.
        """
        maps = _symmetric_maps(teacher, 1 / (teacher.shape[2] * temperatures[1]), dtype)
        total = teacher.new_zeros(())
        gradients, factors, rows = [], [], 0
        for group, student in zip(targets, students, strict=True):
            # Cross-entropy is linear in the teacher: one product with the sum of the maps.
            target = sum((maps[view] for view in group[1:]), start=maps[group[0]])
            scale = 1 / (student.shape[2] * temperatures[0])
            value, gradient = _channel_group(student, target, len(group), scale)
            total = total + value
            gradients.append(gradient)
            factors.append(-scale)
            rows += len(group) * student[:, :, 0].numel()
        ctx.factors = [f / rows for f in factors]
        ctx.save_for_backward(*gradients)
        return total / rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the stored gradients."""
        scaled = [
            gradient * (upstream * factor)
            for gradient, factor in zip(ctx.saved_tensors, ctx.factors, strict=True)
        ]
        return None, None, None, None, *scaled


def _channel_group(
    student: Tensor, target: Tensor, num_teachers: int, scale: float
) -> tuple[Tensor, Tensor]:
    """Summed loss of views ``(k, b, n, C)`` against the sum ``(b, C, C)`` of the teachers' ``Q + Q^T``; its gradient.

    The gradient lacks the factor ``-scale``.
    """
    views, batch, tokens = student.shape[:3]
    wide = widened(student.transpose(2, 3)[..., None, :], scale, target.dtype)
    sums, own = products_both_ways(wide, wide[0], tokens, scale)
    own = own[:, 0].unflatten(0, (views, batch)).transpose(2, 3)
    # Views side by side, so that a map is read once for all of them.
    rows = student.transpose(0, 1).to(target.dtype).flatten(1, 2)
    cross = torch.bmm(rows, target)
    value = num_teachers * sums.sum() - scale / 2 * (rows * cross).sum(dtype=sums.dtype)
    cross = cross.unflatten(1, (views, tokens)).transpose(0, 1)
    return value, torch.sub(cross, own, alpha=num_teachers, out=torch.empty_like(student))


def _symmetric_maps(teacher: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """``Q + Q^T`` of each view's channel relation: ``(V, B, M, C)`` to ``(V, B, C, C)`` in the given dtype."""
    views, batch, _, channels = teacher.shape
    maps = teacher.new_empty((views, batch, channels, channels), dtype=dtype)
    scaled = torch.mul(teacher, scale**0.5, out=torch.empty_like(teacher, dtype=dtype))
    for images in pieces(batch, views * channels**2, teacher.device):
        part = scaled[:, images].flatten(0, 1)
        q = _wide_product(part.transpose(1, 2), part).softmax(dim=-1).unflatten(0, (views, -1))
        torch.add(q, q.transpose(2, 3), out=maps[:, images])
    return maps


# Asked here, since torch.compile before 2.14 cannot trace the question.
_HAS_WIDE_PRODUCT = "dtype" in torch.ops.aten.bmm.overloads()


def _wide_product(left: Tensor, right: Tensor) -> Tensor:
    """Batched product of half-precision matrices in float32, as it is accumulated."""
    if left.device.type == "cuda" and _HAS_WIDE_PRODUCT:
        return torch.bmm(left, right, out_dtype=torch.float32)
    wide = torch.promote_types(left.dtype, torch.float32)
    return torch.bmm(left.to(wide), right.to(wide))


__all__ = ["ChannelAttention", "SpatialAttention", "products_both_ways"]
