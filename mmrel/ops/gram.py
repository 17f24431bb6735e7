"""Gram anchoring: the similarities between an image's patches stay close to what they once were.

DINOv3 (arXiv 2508.10104), section 4: ``L_Gram = || X_S X_S^T - X_G X_G^T ||_F^2`` with L2-normalised patch features of
the student, X_S, and of an early teacher, X_G. Here it is the mean over the N x N pairs of patches, and over images, as
in the public code, so that a weight means the same for crops of any size.

What differs from the usual implementation, with equal numbers: a batch is gone through piece by piece, and the gradient
``4 (X_S X_S^T - X_G X_G^T) X_S`` of a piece is taken while its maps are at hand, so that no N x N map is kept. The way
over C x C maps, ``|| X^T X ||^2 - 2 || X^T Y ||^2 + || Y^T Y ||^2``, is not taken: it subtracts large numbers from each
other, and loses in float32 the very differences that are left once the student is close to its anchor.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmrel.ops.pieces import pieces
from mmrel.ops.precision import upcast, without_autocast


def gram_anchoring_loss(student: Tensor, anchor: Tensor) -> Tensor:
    """Mean squared difference of the cosine similarities of all pairs of patches.

    Args:
        student: ``(B, N, C)``, not normalised.
        anchor: ``(B, N, D)``, not normalised; it gets no gradient.

    Returns:
        Scalar, in float32 or better: mean over images and pairs.

    Raises:
        ValueError: shapes that do not fit.
    """
    if student.dim() != 3 or anchor.dim() != 3 or student.shape[:2] != anchor.shape[:2]:
        raise ValueError(
            f"student has shape {tuple(student.shape)} and anchor {tuple(anchor.shape)}; they must be (B, N, C) and "
            "(B, N, D): only the number of channels may differ"
        )
    with without_autocast(student):
        unit = F.normalize(upcast(student), dim=-1)
        target = F.normalize(anchor.detach().to(unit.dtype), dim=-1)
        return GramDistance.apply(unit, target)


class GramDistance(torch.autograd.Function):
    """Mean squared difference of two batches of Gram matrices, with its gradient in closed form."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, target: Tensor) -> Tensor:
        """Loss of unit vectors.

        Args:
            ctx: autograd's.
            student: ``(B, N, C)``.
            target: ``(B, N, D)``.
        """
        batch, tokens, channels = student.shape
        gradient = torch.empty_like(student) if ctx.needs_input_grad[0] else None
        total = student.new_zeros(())
        entries = tokens * (tokens + channels + target.shape[2])
        for piece in pieces(batch, entries, student.device):
            x, y = student[piece], target[piece]
            difference = torch.bmm(x, x.transpose(1, 2)) - torch.bmm(y, y.transpose(1, 2))
            total += difference.square().sum()
            if gradient is not None:
                gradient[piece] = torch.bmm(difference, x)
        ctx.pairs = batch * tokens**2
        ctx.save_for_backward(gradient)
        return total / ctx.pairs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, None]:
        """Scale the stored gradient."""
        (gradient,) = ctx.saved_tensors
        return gradient * (4 * upstream / ctx.pairs), None


__all__ = ["GramDistance", "gram_anchoring_loss"]
