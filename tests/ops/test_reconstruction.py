"""Masked L1 (SiT, arXiv 2104.03602): worked examples, the plain reference with gradients, autocast and bad input."""

import pytest
import torch
from reference import corruption as reference

from mmrel.ops.reconstruction import masked_l1


def test_masked_l1__global_mean() -> None:
    """Errors 1, 2, 3 in one image and 5 in another give 2.75; a mean of the images' means would be 3.5."""
    errors = torch.tensor([[1.0, 2.0, 3.0], [5.0, 9.0, 9.0]]).view(2, 1, 1, 3)
    mask = torch.tensor([[True, True, True], [True, False, False]]).view(2, 1, 3)
    assert float(masked_l1(errors, torch.zeros_like(errors), mask)) == 2.75


def test_masked_l1__unmasked_values_do_not_count() -> None:
    prediction = torch.arange(1.0, 9.0).view(1, 1, 1, 8)
    target = torch.tensor([1.0, 0, 3, 0, 4, 4, 4, 4]).view(1, 1, 1, 8)
    mask = torch.tensor([1, 1, 0, 0, 1, 0, 0, 0], dtype=torch.bool).view(1, 1, 8)
    assert float(masked_l1(prediction, target, mask)) == 1.0
    assert float(masked_l1(prediction, target, torch.ones_like(mask))) == 2.0


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_masked_l1__equals_reference(dtype: torch.dtype, tolerance: float) -> None:
    rng = torch.Generator().manual_seed(0)
    prediction, target = (
        torch.randn(3, 3, 6, 5, generator=rng, dtype=torch.float64) for _ in range(2)
    )
    mask = torch.rand(3, 6, 5, generator=rng) < 0.4
    mask[1] = False
    fast_in = prediction.to(dtype, copy=True).requires_grad_()
    slow_in = prediction.clone().requires_grad_()
    fast = masked_l1(fast_in, target.to(dtype), mask)
    slow = reference.masked_l1(slow_in, target, mask)
    assert fast.dtype == dtype
    torch.testing.assert_close(fast.double(), slow, rtol=tolerance, atol=tolerance)
    fast.backward()
    slow.backward()
    torch.testing.assert_close(fast_in.grad.double(), slow_in.grad, rtol=tolerance, atol=tolerance)
    assert not fast_in.grad[~mask[:, None].expand_as(prediction)].any()


def test_masked_l1__nothing_masked_is_zero() -> None:
    prediction = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = masked_l1(prediction, torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0 and not prediction.grad.any()


def test_masked_l1__float32_under_autocast() -> None:
    prediction, target = torch.randn(2, 3, 4, 4).bfloat16(), torch.randn(2, 3, 4, 4)
    mask = torch.rand(2, 4, 4) < 0.5
    expected = masked_l1(prediction.double(), target.double(), mask)
    with torch.autocast("cpu", torch.bfloat16):
        loss = masked_l1(prediction, target, mask)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("shapes", [((2, 3, 4, 4), (2, 4, 5)), ((2, 3, 4, 5), (2, 4, 4))])
def test_masked_l1__refuses(shapes: tuple) -> None:
    target, mask = torch.zeros(2, 3, 4, 4), torch.zeros(shapes[1], dtype=torch.bool)
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\).*they must be"):
        masked_l1(torch.zeros(shapes[0]), target, mask)
