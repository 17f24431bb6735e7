"""Gram anchoring against the obvious form: values, gradients, pieces."""

import pytest
import torch
from reference import gram as reference

from mmrel.ops import gram
from mmrel.ops.gram import gram_anchoring_loss


def tokens(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str
)
@pytest.mark.parametrize("near", [False, True], ids=["far", "near"])
def test_loss__is_the_formula(dtype: torch.dtype, tolerance: float, near: bool) -> None:
    """Also where student and anchor nearly agree, where C x C maps would lose all digits in float32."""
    student = tokens(3, 5, 4, dtype=dtype).requires_grad_()
    noise = tokens(3, 5, 4, seed=1, dtype=dtype)
    anchor = (student.detach() + 0.03 * noise) if near else noise
    loss = gram_anchoring_loss(student, anchor)
    (slope,) = torch.autograd.grad(loss, student)
    exact = student.detach().double().requires_grad_()
    expected = reference.gram_anchoring_loss(exact, anchor.double())
    (expected_slope,) = torch.autograd.grad(expected, exact)
    assert loss.dtype == dtype
    torch.testing.assert_close(loss.double(), expected, rtol=tolerance, atol=0)
    largest = float(expected_slope.abs().max())
    close = dict(rtol=tolerance, atol=tolerance * largest)
    torch.testing.assert_close(slope.double(), expected_slope, **close)


def test_loss__slope_is_the_difference_quotient() -> None:
    student, anchor = tokens(2, 4, 3).requires_grad_(), tokens(2, 4, 6, seed=1)
    assert torch.autograd.gradcheck(lambda s: gram_anchoring_loss(s, anchor), (student,))


def test_loss__worked_example() -> None:
    """Two patches at 90 degrees, anchored at 60: two of four entries differ by 1/2."""
    student = torch.tensor([[[2.0, 0.0], [0.0, 5.0]]])
    anchor = torch.tensor([[[1.0, 0.0], [0.5, 0.75**0.5]]])
    torch.testing.assert_close(gram_anchoring_loss(student, anchor), torch.tensor(2 * 0.25 / 4))


def test_loss__knows_neither_lengths_nor_rotations() -> None:
    student = tokens(2, 5, 4)
    turn = torch.linalg.qr(tokens(4, 4, seed=2))[0]
    turned = student * (1 + tokens(2, 5, 1, seed=3).abs()) @ turn
    assert float(gram_anchoring_loss(student, turned)) < 1e-28
    assert float(gram_anchoring_loss(student, student)) == 0


def test_loss__gives_the_anchor_no_gradient_and_survives_zeros() -> None:
    student, anchor = tokens(1, 3, 4).requires_grad_(), tokens(1, 3, 4, seed=1).requires_grad_()
    with torch.no_grad():
        student[0, 0] = 0
    gram_anchoring_loss(student, anchor).backward()
    assert anchor.grad is None and bool(student.grad.isfinite().all())


def test_loss__does_not_depend_on_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for step in (1, 2, 5):
        monkeypatch.setattr(
            gram,
            "pieces",
            lambda count, *_, step=step: (slice(i, i + step) for i in range(0, count, step)),
        )
        student = tokens(5, 3, 4).requires_grad_()
        loss = gram_anchoring_loss(student, tokens(5, 3, 4, seed=1))
        results.append((loss.detach(), *torch.autograd.grad(loss, student)))
    for loss, slope in results[1:]:
        torch.testing.assert_close(loss, results[0][0], rtol=1e-12, atol=0)
        torch.testing.assert_close(slope, results[0][1], rtol=1e-12, atol=1e-16)


def test_loss__is_float32_under_autocast() -> None:
    student, anchor = (tokens(2, 5, 4, seed=s, dtype=torch.float32) for s in (0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        loss = gram_anchoring_loss(student, anchor)
    assert torch.equal(loss, gram_anchoring_loss(student, anchor))
    half = gram_anchoring_loss(student.bfloat16(), anchor.bfloat16())
    assert half.dtype == torch.float32


@pytest.mark.parametrize("shapes", [((2, 3, 4), (2, 4, 4)), ((3, 4), (3, 4))], ids=str)
def test_loss__of_other_shapes(shapes: tuple) -> None:
    with pytest.raises(ValueError, match="number of channels may differ"):
        gram_anchoring_loss(*(torch.zeros(shape) for shape in shapes))
