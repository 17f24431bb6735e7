"""Cross-entropies between relation maps, with gradients in closed form.

A relation map is ``s = a X X^T`` for tokens or channels X; its rows are softmaxed and compared. With p the
student's softmax and q the sum of k teachers' softmaxes, per row::

    - q . log_softmax(s) = k * logsumexp(s) - <q, s>
    d / ds = k * p - q =: D,        d / dX = a (D + D^T) X

Both functions walk over a batch in pieces, and the gradient of a piece is taken while its maps are at hand. So no
map is kept for the backward pass, there is one exponential per map entry, and the memory above the inputs is
one piece and the gradient. Only the student gets a gradient, and only once (no double backward).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ENTRIES_PER_THREAD = 3 * 2**17
"""Map entries per piece and thread on a CPU: a piece and its temporaries stay in the cache."""
ENTRIES_PER_DEVICE = 2**25
"""Map entries per piece elsewhere: 128 MiB in float32, enough to fill a GPU."""


class SpatialCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of token-by-token relation maps of matched views."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, num_heads: int, scales: tuple[float, float]
    ) -> Tensor:
        """Loss of n (student view, teacher view) pairs.

        Args:
            ctx: autograd's.
            student: ``(n, P, C)``.
            teacher: ``(n, P, C)``.
            num_heads: h, contiguous groups of channels.
            scales: what multiplies the student's and the teacher's inner products.

        Returns:
            Mean over pairs, heads and rows.
        """
        pairs, points, channels = student.shape
        with_gradient = ctx.needs_input_grad[0]
        gradient = torch.empty_like(student) if with_gradient else None
        total = student.new_zeros(())
        for piece in _pieces(pairs, num_heads * points**2 + 2 * points * channels, student.device):
            x, t = _split_heads(student[piece], num_heads), _split_heads(teacher[piece], num_heads)
            scaled = x * scales[0]
            q = torch.bmm(t * scales[1], t.transpose(1, 2)).softmax(dim=-1)
            p, value = _row_losses(torch.bmm(scaled, x.transpose(1, 2)), q)
            total += value
            if gradient is not None:
                slope = _symmetric_product(p.sub_(q), scaled)
                gradient[piece] = slope.unflatten(0, (-1, num_heads)).transpose(1, 2).flatten(2)
        rows = pairs * num_heads * points
        ctx.rows = rows
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return total / rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the stored gradient."""
        (gradient,) = ctx.saved_tensors
        return gradient * (upstream / ctx.rows), None, None, None


class ChannelCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of channel-by-channel relation maps, teachers merged per student view.

    ``<q, s> = 1/2 <q + q^T, s>`` since s is symmetric, so the student views that share their teachers share one
    product with ``q + q^T``, and that product is their gradient too.
    """

    @staticmethod
    def forward(
        ctx: Any,
        teacher: Tensor,
        temperatures: tuple[float, float],
        targets: Sequence[tuple[int, ...]],
        *students: Tensor,
    ) -> Tensor:
        """Loss of groups of student views.

        Args:
            ctx: autograd's.
            teacher: ``(V, B, M, C)``.
            temperatures: of the student and of the teacher.
            targets: for each group, the teacher views that it is compared with.
            students: for each group, its views ``(k, B, n, C)``.

        Returns:
            Mean over (teacher view, student view) pairs, images and rows.
        """
        wanted = ctx.needs_input_grad[3:]
        gradients = [
            torch.zeros_like(s) if w else None for s, w in zip(students, wanted, strict=True)
        ]
        views, batch, tokens, channels = teacher.shape
        total = teacher.new_zeros(())
        for images in _pieces(batch, views * channels**2, teacher.device):
            maps = _channel_maps(teacher[:, images], 1 / (tokens * temperatures[1])).softmax(dim=-1)
            for group, student, gradient in zip(targets, students, gradients, strict=True):
                merged = sum(maps[view] for view in group[1:]) + maps[group[0]]
                part = None if gradient is None else gradient[:, images]
                total += _channel_group(
                    student[:, images], merged, len(group), temperatures[0], part
                )
        pairs = sum(len(g) * len(s) for g, s in zip(targets, students, strict=True))
        ctx.rows = pairs * batch * channels
        ctx.save_for_backward(*gradients)
        return total / ctx.rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the stored gradients."""
        scale = upstream / ctx.rows
        return None, None, None, *(g if g is None else g * scale for g in ctx.saved_tensors)


def _channel_group(
    student: Tensor, merged: Tensor, num_teachers: int, temperature: float, gradient: Tensor | None
) -> Tensor:
    """Summed loss of views ``(k, b, n, C)`` against maps ``(b, C, C)``; adds to ``gradient`` in place."""
    views, _, tokens, _ = student.shape
    scale = 1 / (tokens * temperature)
    both = (merged + merged.transpose(1, 2)).mul_(scale)
    total = student.new_zeros(())
    per_image = student.transpose(0, 1).flatten(1, 2)
    product = torch.bmm(per_image, both).unflatten(1, (views, tokens)).transpose(0, 1)
    total -= 0.5 * (product * student).sum()
    if gradient is not None:
        gradient -= product
    for piece in _pieces(views, merged.numel(), student.device):
        x = student[piece].flatten(0, 1)
        s = torch.bmm(x.transpose(1, 2) * scale, x)
        p = s.softmax(dim=-1)
        total += num_teachers * _log_sum_exp(s, p).sum()
        if gradient is not None:
            slope = torch.bmm(x, p) + torch.bmm(x, p.transpose(1, 2))
            gradient[piece].add_(slope.view_as(student[piece]), alpha=num_teachers * scale)
    return total


def _channel_maps(tokens: Tensor, scale: float) -> Tensor:
    """``scale * X^T X`` for tokens ``(..., N, C)``."""
    return torch.matmul(tokens.transpose(-1, -2) * scale, tokens)


def _row_losses(s: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax of s and the summed cross-entropy of its rows with q; overwrites s."""
    p = s.softmax(dim=-1)
    value = _log_sum_exp(s, p).sum()
    return p, value - s.mul_(q).sum()


def _log_sum_exp(s: Tensor, p: Tensor) -> Tensor:
    """Of the rows of s, given their softmax p: ``max(s) - log(max(p))``, without another exponential."""
    return s.amax(dim=-1) - p.amax(dim=-1).log_()


def _symmetric_product(d: Tensor, x: Tensor) -> Tensor:
    """``(D + D^T) X``."""
    return torch.bmm(d, x).baddbmm_(d.transpose(1, 2), x)


def _split_heads(tokens: Tensor, num_heads: int) -> Tensor:
    """``(n, P, C)`` to ``(n * heads, P, C / heads)``."""
    return tokens.unflatten(2, (num_heads, -1)).transpose(1, 2).flatten(0, 1)


def _pieces(count: int, entries: int, device: torch.device) -> Iterator[slice]:
    """Slices of ``range(count)``, where each element makes so many map entries."""
    on_cpu = device.type == "cpu"
    limit = ENTRIES_PER_THREAD * torch.get_num_threads() if on_cpu else ENTRIES_PER_DEVICE
    step = max(1, limit // max(entries, 1))
    return (slice(start, start + step) for start in range(0, count, step))


__all__ = ["ChannelCrossEntropy", "SpatialCrossEntropy"]
