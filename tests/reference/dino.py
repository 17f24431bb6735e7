"""DINO's and iBOT's losses as they are written in the papers: one pair, one image, one patch at a time."""

import torch
from torch import Tensor


def cross_entropy(
    student: Tensor, teacher: Tensor, center: Tensor, student_t: float, teacher_t: float
) -> Tensor:
    """Cross-entropy of one student logit vector ``(K,)`` with one teacher logit vector."""
    p = torch.exp((teacher - center) / teacher_t)
    p = p / p.sum()
    log_z = torch.log(torch.exp(student / student_t).sum())
    return -(p * (student / student_t - log_z)).sum()


def cls_loss(
    student: Tensor, teacher: Tensor, center: Tensor, batch: int, student_t: float, teacher_t: float
) -> tuple[Tensor, int]:
    """Mean over all pairs of different views, and how many pairs there were. Logits are view-major."""
    terms = []
    for q in range(len(teacher) // batch):
        for v in range(len(student) // batch):
            if q == v:
                continue
            losses = [
                cross_entropy(
                    student[v * batch + b], teacher[q * batch + b], center, student_t, teacher_t
                )
                for b in range(batch)
            ]
            terms.append(sum(losses) / batch)
    return sum(terms) / len(terms), len(terms)


def patch_loss(
    student: Tensor,
    teacher: Tensor,
    masks: Tensor,
    center: Tensor,
    student_t: float,
    teacher_t: float,
) -> Tensor:
    """iBOT's patch loss for full maps ``(crops, N, K)`` and ``masks (crops, N)``: all patches, then the mask."""
    losses = []
    for crop in range(len(masks)):
        total = student.new_zeros(())
        for n in range(masks.shape[1]):
            ce = cross_entropy(student[crop, n], teacher[crop, n], center, student_t, teacher_t)
            total = total + ce * masks[crop, n]
        losses.append(total / max(int(masks[crop].sum()), 1))
    return sum(losses) / len(losses)
