"""Stochastic depth as a divisor: who is dropped, by what the rest is divided, and the gradient."""

import pytest
import torch
from mmcv.cnn.bricks.drop import drop_path

from mmrel.ops.residual import add_branch, drop_path_divisors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 3])
def test_add_branch__bit_equal_to_mmcv(dtype: torch.dtype, count: int) -> None:
    """Values, gradients, and the state in which the generator is left."""
    tokens = torch.randn(40, 5, 6, dtype=dtype)
    results = []
    for ours in (True, False):
        torch.manual_seed(1)
        branches = [torch.randn(40, 5, 6, dtype=dtype, requires_grad=True) for _ in range(count)]
        if ours:
            divisors = drop_path_divisors(tokens, 0.3, count)
            pairs = zip(branches, divisors, strict=True)
            sums = [add_branch(tokens, branch, divisor) for branch, divisor in pairs]
        else:
            sums = [tokens + drop_path(branch, 0.3, training=True) for branch in branches]
        sum(x.square().sum() for x in sums).backward()
        results.append([*sums, *(branch.grad for branch in branches), torch.rand(1)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_divisors__rate_and_values() -> None:
    torch.manual_seed(0)
    (divisors,) = drop_path_divisors(torch.empty(20_000, 2, 3), 0.25, 1)
    assert divisors.shape == (20_000, 1, 1)
    assert set(divisors.unique().tolist()) == {0.75, float("inf")}
    assert float(divisors.isinf().float().mean()) == pytest.approx(0.25, abs=0.01)


def test_add_branch__half_precision_branch_on_a_float32_stream() -> None:
    """The sum is not rounded; the gradient comes back in the branch's precision."""
    tokens = torch.randn(4, 3, 2, requires_grad=True)
    branch = torch.randn(4, 3, 2).bfloat16().requires_grad_()
    divisor = torch.tensor([0.9, float("inf"), 0.9, 0.9]).view(4, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        result = add_branch(tokens, branch, divisor)
    torch.testing.assert_close(result, tokens + branch.float() / divisor, rtol=0, atol=1e-7)
    result.sum().backward()
    assert branch.grad.dtype == torch.bfloat16
    assert torch.equal(branch.grad, (1 / divisor).bfloat16().expand(4, 3, 2))
