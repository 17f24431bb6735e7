"""Cross-entropy of logits that are never formed as a whole: against the plain form, in pieces, autocast, bad input."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmrel.ops.distillation import soft_cross_entropy
from mmrel.ops.prototypes import mean_logits, prototype_cross_entropy

ROWS, CHANNELS, PROTOTYPES = 23, 5, 7


@pytest.fixture(params=[None, 1], ids=["one-piece", "many-pieces"], autouse=True)
def _pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with the usual pieces, and row by row."""
    if request.param:
        monkeypatch.setattr("mmrel.ops.pieces.ENTRIES_PER_THREAD", 1)
        monkeypatch.setattr("mmrel.ops.prototypes.LEAST_ROWS", 3)


def inputs(dtype: torch.dtype) -> list[Tensor]:
    """Features and prototypes of both networks, weights and centre."""
    rng = torch.Generator().manual_seed(0)
    shapes = [(ROWS, CHANNELS), (PROTOTYPES, CHANNELS), (ROWS, 4), (PROTOTYPES, 4)]
    made = [normalize(torch.randn(s, generator=rng, dtype=torch.float64), dim=-1) for s in shapes]
    weights = torch.rand(ROWS, generator=rng, dtype=torch.float64) * 1e-3
    center = torch.randn(1, PROTOTYPES, generator=rng, dtype=torch.float64) * 0.1
    return [x.to(dtype) for x in (*made, weights, center)]


def losses(tensors: list[Tensor], upstream: float = 1.0) -> list[tuple[Tensor, ...]]:
    """Value and gradients of both forms."""
    results = []
    for plain in (False, True):
        s, p, t, r, w, c = tensors
        s, p = s.clone().requires_grad_(), p.clone().requires_grad_()
        if plain:
            loss = (soft_cross_entropy(s @ p.T, t @ r.T, 0.1, 0.04, c) * w).sum()
        else:
            loss = prototype_cross_entropy(s, p, t, r, w, 0.1, 0.04, c)
        results.append((loss.detach(), *torch.autograd.grad(loss * upstream, [s, p])))
    return results


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_cross_entropy__equals_plain_form(dtype: torch.dtype, tolerance: float) -> None:
    for fast, plain in zip(*losses(inputs(dtype), upstream=3.0), strict=True):
        assert fast.dtype == dtype
        assert float((fast - plain).norm() / plain.norm()) < tolerance


def test_cross_entropy__gradient_of_differences() -> None:
    s, p, *rest = inputs(torch.float64)
    assert torch.autograd.gradcheck(
        lambda s, p: 1e3 * prototype_cross_entropy(s, p, *rest[:3], 0.1, 0.04, rest[3]),
        (s.requires_grad_(), p.requires_grad_()),
    )


def test_cross_entropy__small_weights_under_autocast() -> None:
    """Gradients of rows that weigh 1e-9 each do not vanish in half precision."""
    tensors = inputs(torch.float32)
    tensors[4] = tensors[4] * 1e-6
    exact = losses(tensors)[1]
    with torch.autocast("cpu", torch.float16):
        fast = losses(tensors)[0]
    for half, full in zip(fast, exact, strict=True):
        assert half.dtype == torch.float32
        assert float((half - full).norm() / full.norm()) < 5e-3


def test_cross_entropy__gradients_for_the_student_only() -> None:
    s, p, t, r, w, c = inputs(torch.float64)
    parts = [x.requires_grad_() for x in (p, t, r, w)]
    loss = prototype_cross_entropy(s, *parts, 0.1, 0.04, c)
    loss.backward()
    assert p.grad is not None and all(x.grad is None for x in (t, r, w))
    with torch.no_grad():
        assert torch.equal(prototype_cross_entropy(s, *parts, 0.1, 0.04, c), loss)


def test_mean_logits__equals_mean_of_all() -> None:
    s, p, *_ = inputs(torch.float64)
    torch.testing.assert_close(
        mean_logits(s, p), (s @ p.T).mean(0, keepdim=True), rtol=1e-12, atol=0
    )


def test_cross_entropy__bad_input() -> None:
    s, p, t, r, w, c = inputs(torch.float64)
    with pytest.raises(
        ValueError, match=r"student's features have shape \(23, 5\) and .* \(7, 4\)"
    ):
        prototype_cross_entropy(s, r, t, r, w, 0.1, 0.04, c)
    with pytest.raises(ValueError, match=r"have \(23, 22, 23\) rows"):
        prototype_cross_entropy(s, p, t[1:], r, w, 0.1, 0.04, c)
    with pytest.raises(ValueError, match=r"networks \(7, 6\) prototypes"):
        prototype_cross_entropy(s, p, t, r[1:], w, 0.1, 0.04, c)
    with pytest.raises(ValueError, match="student_temperature is 0"):
        prototype_cross_entropy(s, p, t, r, w, 0, 0.04, c)
    with pytest.raises(ValueError, match="teacher_temperature is -1"):
        prototype_cross_entropy(s, p, t, r, w, 0.1, -1, c)
