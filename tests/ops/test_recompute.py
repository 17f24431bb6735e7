"""Recomputed norms and feed-forward networks against the formulas, and in which precision each part is computed."""

import pytest
import torch
from torch import Tensor, nn

from mmrel.ops.recompute import Precision, layer_norm, norm_linear, norm_mlp


def normalise(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Layer norm by its definition."""
    centred = x - x.mean(dim=-1, keepdim=True)
    deviation = (centred.square().mean(dim=-1, keepdim=True) + norm.eps).sqrt()
    return centred / deviation * norm.weight + norm.bias


def gelu(x: Tensor) -> Tensor:
    """GELU by its definition (arXiv 1606.08415)."""
    return x * (1 + torch.erf(x / 2**0.5)) / 2


@pytest.fixture
def parts() -> tuple[nn.LayerNorm, nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    modules = nn.LayerNorm(6, eps=1e-6), nn.Linear(6, 10), nn.Linear(10, 4)
    for module in modules:
        module.double()
        nn.init.normal_(module.weight)
        nn.init.normal_(module.bias)
    return modules


def gradients(results: tuple[Tensor, ...], inputs: list[Tensor]) -> tuple[Tensor, ...]:
    total = sum((x * torch.linspace(-1, 2, x.numel()).view_as(x)).sum() for x in results)
    return torch.autograd.grad(total, inputs)


@pytest.mark.parametrize("keep_hidden", [True, False])
def test_norm_mlp__equals_the_formula(parts, keep_hidden: bool) -> None:
    norm, first, second = parts
    x = torch.randn(3, 5, 6, dtype=torch.float64, requires_grad=True)
    inputs = [x, *norm.parameters(), *first.parameters(), *second.parameters()]
    stream, result = norm_mlp(x, norm, first, second, keep_hidden)
    hidden = normalise(x, norm) @ first.weight.T + first.bias
    expected = gelu(hidden) @ second.weight.T + second.bias
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(
        gradients((stream, result), inputs), gradients((x, expected), inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("keep_normed", [True, False])
def test_norm_linear__equals_the_formula(parts, keep_normed: bool) -> None:
    norm, first, _ = parts
    x = torch.randn(3, 5, 6, dtype=torch.float64, requires_grad=True)
    inputs = [x, *norm.parameters(), *first.parameters()]
    stream, result = norm_linear(x, norm, first, keep_normed)
    expected = normalise(x, norm) @ first.weight.T + first.bias
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(
        gradients((stream, result), inputs), gradients((x, expected), inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_norm_linear__one_of_the_two_results_unused(parts) -> None:
    norm, first, _ = parts
    x = torch.randn(3, 5, 6, dtype=torch.float64, requires_grad=True)
    stream, result = norm_linear(x, norm, first)
    (alone,) = torch.autograd.grad(result.sum(), x)
    (expected,) = torch.autograd.grad((normalise(x, norm) @ first.weight.T).sum(), x)
    torch.testing.assert_close(alone, expected, rtol=1e-10, atol=1e-10)
    assert torch.equal(stream, x)


@pytest.mark.parametrize(
    ("autocast", "norm", "product"),
    [
        (torch.bfloat16, torch.bfloat16, torch.bfloat16),
        (torch.float16, torch.float32, torch.float16),
        (None, torch.float32, torch.float32),
    ],
)
def test_precision__under_autocast(autocast, norm, product) -> None:
    tokens = torch.randn(2, 3, 6)
    with torch.autocast("cpu", autocast, enabled=autocast is not None):
        assert Precision.of(tokens) == Precision(norm, product)
        assert layer_norm(tokens, nn.LayerNorm(6)).dtype == norm
        assert norm_linear(tokens, nn.LayerNorm(6), nn.Linear(6, 2))[1].dtype == product
        assert Precision.of(tokens.double()).norm == torch.float64


def test_precision__of_a_device_without_autocast() -> None:
    """The meta device, on which a configuration's shapes are checked."""
    tokens = torch.empty(2, 3, 6, device="meta")
    norm, linear = nn.LayerNorm(6, device="meta"), nn.Linear(6, 2, device="meta")
    assert norm_linear(tokens, norm, linear)[1].shape == (2, 3, 2)
    assert layer_norm(tokens, norm).dtype == torch.float32
