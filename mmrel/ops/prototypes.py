"""Logits over prototypes that are never formed as a whole: their mean, and the cross-entropy between two networks'.

A projection head ends in a linear layer without bias, ``logits = features @ prototypes^T`` (DINO, arXiv 2104.14294).
When every patch of every crop is projected (SelfPatch, arXiv 2206.07990), these logits are by far the
largest tensors of a step. What differs from the usual implementation, with equal numbers: the mean of the logits is
the logit of the mean feature, and the cross-entropy walks over the rows in pieces, taking the gradient
of a piece while its logits are at hand. With p the student's softmax, q the teacher's, tau the student's temperature
and w the weight of a row::

    loss = - w q . log p,        d loss / d logits = w (p - q) / tau

So no logit is kept for the backward pass. Softmax and losses are in float32 or better, also under autocast.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmrel.ops.distillation import check_temperature, teacher_probabilities
from mmrel.ops.pieces import pieces
from mmrel.ops.precision import for_product, upcast, without_autocast

LEAST_ROWS = 192
"""Rows per piece, below which the products with the prototypes become slow."""


def mean_logits(features: Tensor, prototypes: Tensor) -> Tensor:
    """The mean over all rows of ``features @ prototypes^T``.

    Args:
        features: ``(M, D)``.
        prototypes: ``(K, D)``.

    Returns:
        ``(1, K)`` in float32, or float64 for float64 prototypes.
    """
    with without_autocast(features):
        full = upcast(prototypes)
        return upcast(features).mean(dim=0, keepdim=True).to(full.dtype) @ full.T


def prototype_cross_entropy(
    student: Tensor,
    student_prototypes: Tensor,
    teacher: Tensor,
    teacher_prototypes: Tensor,
    weights: Tensor,
    student_temperature: float,
    teacher_temperature: float,
    center: Tensor | float,
) -> Tensor:
    """``sum_m w_m * CE(softmax((t_m - c) / tau_t), softmax(s_m / tau_s))``, with s and t as products of two factors.

    Args:
        student: features ``(M, D)``.
        student_prototypes: ``(K, D)``; ``s = student @ student_prototypes^T``.
        teacher: features ``(M, D')``; no gradient reaches them.
        teacher_prototypes: ``(K, D')``; no gradient reaches them.
        weights: w, ``(M,)``, at least 0 and not all 0.
        student_temperature: tau_s, greater than 0.
        teacher_temperature: tau_t, greater than 0.
        center: c, a number (0 for none) or ``(1, K)``.

    Returns:
        Scalar in float32, or float64 for float64 features; it can be differentiated once.

    Raises:
        ValueError: factors that do not fit each other, or a temperature that is not positive.
    """
    check_temperature(student_temperature, "student_temperature")
    _check_factors(student, student_prototypes, "student")
    _check_factors(teacher, teacher_prototypes, "teacher")
    sizes = len(student), len(teacher), len(weights)
    widths = len(student_prototypes), len(teacher_prototypes)
    if len(set(sizes)) > 1 or len(set(widths)) > 1:
        raise ValueError(
            f"student, teacher and weights have {sizes} rows, and the networks {widths} prototypes; row i of one "
            "belongs to row i of the others, and prototype k of one to prototype k of the other"
        )
    temperatures = student_temperature, teacher_temperature
    targets = teacher, teacher_prototypes, center
    weights = weights.detach().to(upcast(student[:0]).dtype)
    return PrototypeCrossEntropy.apply(student, student_prototypes, targets, weights, temperatures)


class PrototypeCrossEntropy(torch.autograd.Function):
    """Weighted sum of the rows' cross-entropies, with its gradient in closed form."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        prototypes: Tensor,
        targets: tuple[Tensor, Tensor, Tensor | float],
        weights: Tensor,
        temperatures: tuple[float, float],
    ) -> Tensor:
        """Loss, and the gradients of both factors.

        Args:
            ctx: autograd's.
            student: ``(M, D)``.
            prototypes: ``(K, D)``.
            targets: the teacher's features ``(M, D')`` and prototypes ``(K, D')``, and the centre.
            weights: ``(M,)``.
            temperatures: of the student and of the teacher.
        """
        teacher, teacher_prototypes, center = targets
        wanted = any(ctx.needs_input_grad[:2])
        # Weights are small; relative ones keep the gradients within half precision under autocast.
        largest = weights.amax()
        relative = weights / largest
        # The gradients of both factors, summed up while the logits of a piece exist. In the dtype
        # of the weights, not of the factors: many small pieces are added up.
        slopes = [torch.zeros_like(x, dtype=weights.dtype) for x in (student, prototypes)]
        total = weights.new_zeros(())
        for piece in pieces(len(student), len(prototypes), student.device, LEAST_ROWS):
            s, t, w = student[piece], teacher[piece], relative[piece]
            q = teacher_probabilities(t @ teacher_prototypes.T, temperatures[1], center)
            log_p = (upcast(s @ prototypes.T) / temperatures[0]).log_softmax(dim=-1)
            total -= w @ (q * log_p).sum(dim=-1)
            if wanted:
                # p - q, in the memory of log p, which nobody needs any more.
                d = for_product(log_p.exp_().sub_(q))
                slopes[0][piece] = (d @ prototypes) * w[:, None]
                slopes[1].add_(d.T @ (s * w[:, None]))
        ctx.save_for_backward(*slopes, largest)
        ctx.temperature = temperatures[0]
        return total * largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the stored gradients."""
        *slopes, largest = ctx.saved_tensors
        scale = upstream * largest / ctx.temperature
        return *(slope * scale for slope in slopes), None, None, None


def _check_factors(features: Tensor, prototypes: Tensor, network: str) -> None:
    if features.dim() != 2 or prototypes.dim() != 2 or features.shape[1] != prototypes.shape[1]:
        raise ValueError(
            f"the {network}'s features have shape {tuple(features.shape)} and its prototypes "
            f"{tuple(prototypes.shape)}; wanted (M, D) and (K, D)"
        )
