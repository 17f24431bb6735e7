"""Scores and losses of all pairs, against one pair of one image at a time."""

import math

import pytest
import torch
from reference import relvit as reference
from torch import Tensor

from mmrel.ops.patch_pairs import accuracy, pair_scores, position_loss, relation_loss
from mmrel.ops.position import patch_relations

SIDE, WIDTH, HEADS, DIM = 3, 11, 9, 2


def parts(dtype: torch.dtype, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens and the maps of queries and keys."""
    rng = torch.Generator().manual_seed(3)
    tokens = torch.randn(batch, SIDE**2, WIDTH, generator=rng, dtype=dtype)
    maps = torch.randn(2, HEADS, DIM, WIDTH, generator=rng, dtype=dtype)
    return tokens, *maps.unbind()


def fast_loss(tokens: Tensor, query: Tensor, key: Tensor, smoothing: float) -> Tensor:
    queries, keys = (tokens @ weight.flatten(0, 1).T for weight in (query, key))
    return relation_loss(pair_scores(queries, keys, HEADS), patch_relations(SIDE), smoothing)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_relation_loss__equals_pairwise_form_and_gradients(
    dtype: torch.dtype, rtol: float, smoothing: float
) -> None:
    inputs = [x.requires_grad_() for x in parts(dtype)]
    copies = [x.detach().clone().requires_grad_() for x in inputs]
    targets = patch_relations(SIDE).expand(2, -1, -1)
    fast, slow = (
        fast_loss(*inputs, smoothing),
        reference.relation_loss(*copies, targets, smoothing),
    )
    torch.testing.assert_close(fast, slow, rtol=rtol, atol=0)
    for a, b in zip(
        torch.autograd.grad(fast, inputs), torch.autograd.grad(slow, copies), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_position_loss__equals_patchwise_form_and_gradients(
    dtype: torch.dtype, rtol: float
) -> None:
    tokens = parts(dtype)[0].requires_grad_()
    weight = torch.randn(SIDE**2, WIDTH, dtype=dtype)
    bias = torch.randn(SIDE**2, dtype=dtype)
    places = torch.arange(SIDE**2).expand(2, -1)
    fast = position_loss(tokens @ weight.T + bias)
    slow = reference.position_loss(tokens, weight, bias, places)
    torch.testing.assert_close(fast, slow, rtol=rtol, atol=0)
    a, b = (torch.autograd.grad(loss, tokens)[0] for loss in (fast, slow))
    torch.testing.assert_close(a, b, rtol=rtol, atol=rtol)


def test_pair_scores__rows_are_queries_and_scale_is_the_head_width() -> None:
    query, key = torch.zeros(1, 2, 84), torch.zeros(1, 2, 84)
    query[0, 1, 42:], key[0, 0, 42:] = 1, 1
    scores = pair_scores(query, key, 2)
    assert float(scores[0, 1, 1, 0]) == pytest.approx(math.sqrt(42), abs=1e-5)
    assert float(scores.sum()) == pytest.approx(6.480741, abs=1e-5)


def test_accuracy__argmax_along_the_axis() -> None:
    scores = torch.zeros(2, 3, 4)
    scores[:, 2, :2] = 1
    assert float(accuracy(scores, torch.tensor([2, 2, 2, 0]), dim=1)) == 0.75


def test_losses__are_float32_for_half_precision_scores() -> None:
    scores = torch.randn(2, 9, 4, 4)
    low = relation_loss(scores.bfloat16(), patch_relations(2))
    assert low.dtype == torch.float32
    assert torch.equal(low, relation_loss(scores.bfloat16().float(), patch_relations(2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pair_scores(torch.ones(1, 4, 10), torch.ones(1, 4, 10), 9), "9 heads"),
        (lambda: pair_scores(torch.ones(1, 4, 9), torch.ones(1, 5, 9), 9), r"\(1, 5, 9\)"),
        (lambda: relation_loss(torch.ones(1, 9, 9, 9), patch_relations(2)), "side"),
        (lambda: position_loss(torch.ones(1, 4, 9)), r"\(1, 4, 9\).*side"),
    ],
)
def test_ops__wrong_shapes(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
