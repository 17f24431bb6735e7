"""Attention in half precision on a CPU against torch's in float64."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from mmrel.ops.half_attention import attend, is_slow_backward


def inputs(dtype: torch.dtype) -> list[Tensor]:
    """Parts of one joint projection, as in a block."""
    generator = torch.Generator().manual_seed(0)
    joint = torch.randn(3, 7, 3, 2, 16, generator=generator).to(dtype)
    return [part.transpose(1, 2).detach().requires_grad_() for part in joint.unbind(2)]


def run(function: object, parts: list[Tensor], upstream: Tensor) -> list[Tensor]:
    mixed = function(*parts)  # type: ignore[operator]
    mixed.backward(upstream.to(mixed.dtype))
    return [mixed.detach(), *(part.grad for part in parts)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_attend__is_torchs_attention(dtype: torch.dtype) -> None:
    """As near to float64 as torch's own in half precision, values and gradients."""
    upstream = torch.randn(3, 2, 7, 16, generator=torch.Generator().manual_seed(1)).to(dtype)
    ours = run(attend, inputs(dtype), upstream)
    torchs = run(scaled_dot_product_attention, inputs(dtype), upstream)
    exact = [part.detach().double().requires_grad_() for part in inputs(dtype)]
    wanted = run(scaled_dot_product_attention, exact, upstream)
    for own, other, right in zip(ours, torchs, wanted, strict=True):
        assert own.dtype == dtype and own.shape == right.shape
        error, others = (float((x.double() - right).norm() / right.norm()) for x in (own, other))
        assert error < 1.1 * others + 1e-4
        assert error < (4e-3 if dtype == torch.bfloat16 else 5e-4)


def test_attend__keeps_nothing_wide() -> None:
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        attend(*inputs(torch.bfloat16))
    wide = [tensor.numel() for tensor in kept if tensor.dtype == torch.float32]
    assert wide == [3 * 2 * 7]  # the sums of exponentials


def test_is_slow__only_where_it_is() -> None:
    [query, *_] = inputs(torch.bfloat16)
    assert is_slow_backward(query)
    assert not is_slow_backward(query.detach())
    assert not is_slow_backward(query.float())
    with torch.no_grad():
        assert not is_slow_backward(query)
