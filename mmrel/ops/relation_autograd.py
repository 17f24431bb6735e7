"""Cross-entropies between relation maps, with gradients in closed form.

A relation map is ``s = a X X^T``, X being tokens or channels; its rows are softmaxed and compared. With p the student's
softmax and q the mean of the teachers' softmaxes, per row and teacher::

    loss = - q . log p,        d loss / d s = p - q =: D,        d loss / d X = a (D + D^T) X

Both functions walk over a batch in pieces, and the gradient of a piece is taken while its maps are at hand. So no
map is kept for the backward pass, there is one exponential per map entry, and the memory above the inputs is
one piece and the gradient. Only the student gets a gradient, and only once (no double backward).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmrel.ops.pieces import pieces


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
            scales: a of the student's and of the teacher's maps.

        Returns:
            Mean over pairs, heads and rows.
        """
        pairs, points, channels = student.shape
        gradient = torch.empty_like(student) if ctx.needs_input_grad[0] else None
        total = student.new_zeros(())
        # What a pair needs at once: the relation map of each head, and its tokens of both networks.
        entries = num_heads * points**2 + 2 * points * channels
        for piece in pieces(pairs, entries, student.device):
            x, t = _split_heads(student[piece], num_heads), _split_heads(teacher[piece], num_heads)
            value, slope = _compare(x, _softmax_map(t, scales[1]), scales[0], gradient is not None)
            total += value
            if gradient is not None:
                gradient[piece] = slope.unflatten(0, (-1, num_heads)).transpose(1, 2).flatten(2)
        ctx.rows = pairs * num_heads * points
        ctx.save_for_backward(gradient)
        return total / ctx.rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the stored gradient."""
        (gradient,) = ctx.saved_tensors
        return gradient * (upstream / ctx.rows), None, None, None


class ChannelCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of channel-by-channel relation maps, teachers merged per student view."""

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
            torch.empty_like(s) if w else None for s, w in zip(students, wanted, strict=True)
        ]
        views, batch, tokens, channels = teacher.shape
        total = teacher.new_zeros(())
        for images in pieces(batch, views * channels**2, teacher.device):
            # Images outside, groups inside: the teachers' maps of these images, the largest tensors
            # here, are formed once and serve every group while they are in the cache.
            part = teacher[:, images].transpose(2, 3)
            maps = _softmax_map(part.flatten(0, 1), 1 / (tokens * temperatures[1]))
            maps = maps.unflatten(0, (views, -1))
            for group, student, gradient in zip(targets, students, gradients, strict=True):
                total += _channel_group(
                    student[:, images],
                    [maps[view] for view in group],
                    temperatures[0],
                    None if gradient is None else gradient[:, images],
                )
        pairs = sum(len(g) * len(s) for g, s in zip(targets, students, strict=True))
        ctx.rows = pairs * batch * channels
        # The stored gradients are those of one merged teacher; the number that it stands for comes
        # in backward.
        ctx.num_teachers = [len(group) for group in targets]
        ctx.save_for_backward(*gradients)
        return total / ctx.rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the stored gradients."""
        scale = upstream / ctx.rows
        scaled = [
            g if g is None else g * (scale * k)
            for g, k in zip(ctx.saved_tensors, ctx.num_teachers, strict=True)
        ]
        return None, None, None, *scaled


def _channel_group(
    student: Tensor, maps: list[Tensor], temperature: float, gradient: Tensor | None
) -> Tensor:
    """Summed loss of views ``(k, b, n, C)`` against each of the teachers' softmaxes ``(b, C, C)``.

    Fills ``gradient`` with the gradient per teacher.
    """
    # Cross-entropy is linear in the teacher: the sum over k teachers is k times that with their
    # mean. One product of maps takes the place of k.
    target = maps[0] if len(maps) == 1 else torch.stack(maps).mean(dim=0)
    scale = 1 / (student.shape[2] * temperature)
    total = student.new_zeros(())
    for piece in pieces(len(student), target.numel(), student.device):
        views = student[piece]
        x = views.transpose(2, 3).flatten(0, 1)
        value, slope = _compare(x, target, scale, gradient is not None)
        total += value
        if gradient is not None:
            gradient[piece] = slope.unflatten(0, views.shape[:2]).transpose(2, 3)
    return total * len(maps)


def _compare(x: Tensor, q: Tensor, scale: float, with_slope: bool) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the maps of x with given softmaxes.

    Args:
        x: ``(m, I, F)``.
        q: ``(m', I, I)``, m being a multiple of m': map i of x is compared with entry i mod m'.
        scale: a.
        with_slope: whether the gradient is wanted.

    Returns:
        The sum over all rows, and the gradient ``(m, I, F)`` (x itself if it is not wanted).
    """
    scaled = x * scale
    s = torch.bmm(scaled, x.transpose(1, 2)).unflatten(0, (-1, len(q)))
    # In place, s serves twice: shifted for a stable softmax, then weighted by q for the value.
    s.sub_(s.amax(dim=-1, keepdim=True))
    p = s.softmax(dim=-1)
    # A row's largest entry of s is 0 now, so log_softmax(s) = s + log(max(p)), and the rows of q sum to 1.
    value = -(p.amax(dim=-1).log_().sum() + s.mul_(q).sum())
    if not with_slope:
        return value, x
    # s = a X X^T holds X twice, hence D + D^T: one product for the rows that a token makes, one for
    # the columns.
    d = p.sub_(q).flatten(0, 1)
    return value, torch.bmm(d, scaled).baddbmm_(d.transpose(1, 2), scaled)


def _softmax_map(x: Tensor, scale: float) -> Tensor:
    """Softmax of the rows of ``scale * X X^T`` for ``(m, I, F)``."""
    return torch.bmm(x * scale, x.transpose(1, 2)).softmax(dim=-1)


def _split_heads(tokens: Tensor, num_heads: int) -> Tensor:
    """``(n, P, C)`` to ``(n * heads, P, C / heads)``."""
    return tokens.unflatten(2, (num_heads, -1)).transpose(1, 2).flatten(0, 1)


__all__ = ["ChannelCrossEntropy", "SpatialCrossEntropy"]
