"""Soft cross-entropy (DINO, arXiv 2104.14294, eq. 3): a worked example, the slow form, autocast and bad input."""

import pytest
import torch
from reference import distillation as reference

from mmrel.ops.distillation import merged_cross_entropy, soft_cross_entropy, teacher_probabilities

TEACHER = torch.tensor([[0.5, 0.2, -0.1], [0.1, 0.6, 0.0]])
STUDENT = torch.tensor([[0.4, 0.1, 0.0], [0.2, 0.5, -0.2], [0.3, 0.3, 0.1]])


def test_soft_cross_entropy__worked_example() -> None:
    """Three classes, two teacher views, three student views."""
    expected = {(0, 1): 3.047798, (0, 2): 0.758624, (1, 0): 3.065873, (1, 2): 0.758624}
    center = torch.full((1, 3), 0.1)
    values = {
        (q, v): soft_cross_entropy(STUDENT[v], TEACHER[q], 0.1, 0.04, center[0]).item()
        for q, v in expected
    }
    assert values == pytest.approx(expected, abs=1e-6)
    assert sum(values.values()) / 4 == pytest.approx(1.907730, abs=1e-6)
    probabilities = teacher_probabilities(TEACHER, 0.04, center)[0]
    assert probabilities.tolist() == pytest.approx([0.999447, 0.000553, 0], abs=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_soft_cross_entropy__equals_reference(dtype: torch.dtype, tolerance: float) -> None:
    rng = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 5, generator=rng, dtype=torch.float64)
    center = torch.randn(5, generator=rng, dtype=torch.float64)
    fast = soft_cross_entropy(student.to(dtype), teacher.to(dtype), 0.3, 0.2, center.to(dtype))
    slow = reference.soft_cross_entropy(student, teacher, 0.3, 0.2, center)
    assert fast.dtype == dtype and fast.shape == (6,)
    torch.testing.assert_close(fast.double(), slow, rtol=tolerance, atol=tolerance)


def test_soft_cross_entropy__gradient() -> None:
    rng = torch.Generator().manual_seed(1)
    student, teacher = torch.randn(2, 3, 4, generator=rng, dtype=torch.float64)
    student.requires_grad_()
    teacher.requires_grad_()
    torch.autograd.gradcheck(lambda s: soft_cross_entropy(s, teacher, 0.5, 0.3, 0.1), student)
    soft_cross_entropy(student, teacher, 0.5, 0.3, 0.0).sum().backward()
    assert teacher.grad is None
    expected = ((student / 0.5).softmax(-1) - (teacher / 0.3).softmax(-1)) / 0.5
    torch.testing.assert_close(student.grad, expected)


def test_merged_cross_entropy__equals_sum_over_teachers() -> None:
    rng = torch.Generator().manual_seed(2)
    student = torch.randn(4, 2, 6, generator=rng, dtype=torch.float64, requires_grad=True)
    teachers = torch.randn(3, 2, 6, generator=rng, dtype=torch.float64)
    merged = merged_cross_entropy(student, teacher_probabilities(teachers, 0.1).sum(0), 0.2)
    single = sum(soft_cross_entropy(student, t.expand(4, 2, 6), 0.2, 0.1, 0.0) for t in teachers)
    torch.testing.assert_close(merged, single, rtol=1e-10, atol=1e-10)
    gradients = [torch.autograd.grad(x.sum(), student)[0] for x in (merged, single)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_soft_cross_entropy__float32_under_autocast() -> None:
    rng = torch.Generator().manual_seed(3)
    student, teacher = torch.randn(2, 8, 16, generator=rng).bfloat16()
    exact = soft_cross_entropy(student.float(), teacher.float(), 0.1, 0.04, 0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = soft_cross_entropy(student, teacher, 0.1, 0.04, 0.0)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact)


@pytest.mark.parametrize(
    ("student", "teacher", "temperatures", "center", "words"),
    [
        ((2, 3), (2, 4), (0.1, 0.04), 0.0, r"\(2, 3\).*\(2, 4\).*\(\.\.\., K\)"),
        ((2, 3), (2, 3), (0.0, 0.04), 0.0, "student_temperature is 0.0.*greater than 0"),
        ((2, 3), (2, 3), (0.1, -1.0), 0.0, "teacher_temperature is -1.0.*greater than 0"),
        ((2, 3), (2, 3), (0.1, 0.1), torch.zeros(1, 4), r"\(1, 4\).*must be K"),
    ],
)
def test_soft_cross_entropy__bad_input(
    student: tuple, teacher: tuple, temperatures: tuple[float, float], center: object, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        soft_cross_entropy(torch.zeros(student), torch.zeros(teacher), *temperatures, center)
