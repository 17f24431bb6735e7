"""Cross-entropy between a teacher's and a student's softmax (DINO, arXiv 2104.14294, eq. 1 to 3).

What differs from the usual implementation: teachers that share a student view are summed before one
cross-entropy, ``- q1 . logp - q2 . logp = - (q1 + q2) . logp``, so that there is one log-softmax per student view.
All arithmetic is in float32 or better, also under autocast. No gradient reaches the teacher.
"""

import torch
from torch import Tensor

from mmrel.ops.precision import upcast, without_autocast


def soft_cross_entropy(
    student_logits: Tensor,
    teacher_logits: Tensor,
    student_temperature: float,
    teacher_temperature: float,
    center: Tensor | float,
) -> Tensor:
    """``- sum_k softmax((t - c) / tau_t)_k * log_softmax(s / tau_s)_k``, unreduced.

    Args:
        student_logits: s, ``(..., K)``.
        teacher_logits: t, ``(..., K)``.
        student_temperature: tau_s, greater than 0.
        teacher_temperature: tau_t, greater than 0.
        center: c, a number (0 for none) or a tensor that broadcasts to the teacher's logits, such as ``(1, K)``.

    Returns:
        ``(...)`` in float32, or float64 for float64 logits.

    Raises:
        ValueError: different shapes, a centre of another width, or a temperature that is not positive.
    """
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"student_logits have shape {tuple(student_logits.shape)} and teacher_logits "
            f"{tuple(teacher_logits.shape)}; both must be (..., K), row i of one belonging to row i of the other"
        )
    probabilities = teacher_probabilities(teacher_logits, teacher_temperature, center)
    return merged_cross_entropy(student_logits, probabilities, student_temperature)


@torch.no_grad()
def teacher_probabilities(
    teacher_logits: Tensor, teacher_temperature: float, center: Tensor | float = 0.0
) -> Tensor:
    """``softmax((t - c) / tau_t)``, without gradient.

    Args:
        teacher_logits: t, ``(..., K)``.
        teacher_temperature: tau_t, greater than 0.
        center: c, a number or a tensor that broadcasts to the logits.

    Returns:
        ``(..., K)`` in float32, or float64 for float64 logits.
    """
    check_temperature(teacher_temperature, "teacher_temperature")
    if isinstance(center, Tensor) and center.dim() and center.shape[-1] != teacher_logits.shape[-1]:
        raise ValueError(
            f"the center has shape {tuple(center.shape)}, but teacher_logits {tuple(teacher_logits.shape)}; "
            "its last size must be K (or give a number)"
        )
    with without_autocast(teacher_logits):
        logits = upcast(teacher_logits)
        if isinstance(center, Tensor):
            center = center.to(logits.dtype)
        return ((logits - center) / teacher_temperature).softmax(dim=-1)


def merged_cross_entropy(
    student_logits: Tensor, probabilities: Tensor, student_temperature: float
) -> Tensor:
    """``- sum_k q_k * log_softmax(s / tau_s)_k``, with q the *sum* of one or several teachers' probabilities.

    Args:
        student_logits: s, ``(..., K)``.
        probabilities: q, ``(..., K)``, or a shape that broadcasts to it (student views that share their teachers).
        student_temperature: tau_s, greater than 0.

    Returns:
        ``(...)`` in float32, or float64 for float64 logits: the sum of the teachers' cross-entropies.
    """
    check_temperature(student_temperature, "student_temperature")
    with without_autocast(student_logits):
        log_student = (upcast(student_logits) / student_temperature).log_softmax(dim=-1)
        return -(probabilities.detach() * log_student).sum(dim=-1)


def check_temperature(value: float, name: str) -> None:
    """Raise ``ValueError`` unless the temperature is greater than 0."""
    if not value > 0:
        raise ValueError(
            f"{name} is {value}; a temperature divides logits and must be greater than 0 "
            "(0.04 to 0.5 is usual for a teacher, 0.1 to 1 for a student)"
        )
