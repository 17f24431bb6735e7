"""InfoNCE (MoCo v3, arXiv 2104.02057, algorithm 1): worked examples, slow form, gathered keys, autocast, bad input."""

import math

import pytest
import torch
from reference import contrastive as reference

from mmrel.ops.contrastive import info_nce, retrieval_accuracy


def features(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_info_nce__own_key_of_two() -> None:
    one = info_nce(torch.eye(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64), 0.2)
    assert float(one) == pytest.approx(0.0026861394, abs=1e-9)
    assert float(2 * one) == pytest.approx(0.0053722788, abs=1e-9)


@pytest.mark.parametrize(
    ("query", "key", "expected"),
    [
        ([[3, 4], [1, 0]], [[4, 3], [0, 2]], 0.8778501188),
        ([[0, 1], [1, 1]], [[1, 1], [2, 0]], 0.3402366276),
    ],
)
def test_info_nce__worked_examples(query: list, key: list, expected: float) -> None:
    query, key = (torch.tensor(rows, dtype=torch.float64) for rows in (query, key))
    assert float(info_nce(query, key, 0.2)) == pytest.approx(expected, abs=1e-9)
    assert float(info_nce(query.float(), key.float(), 0.2)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("count", "both"), [(2, 0.5545177), (64, 3.3271065), (256, 4.4361420)])
def test_info_nce__collapsed_features(count: int, both: float) -> None:
    """0.8 ln N for the two directions together, and nobody finds the own key."""
    same = features(1, 5).expand(count, 5)
    loss = info_nce(same, same, 0.2)
    assert float(2 * loss) == pytest.approx(both, abs=1e-7)
    assert float(loss) == pytest.approx(0.4 * math.log(count))
    assert float(retrieval_accuracy(same, same)) == pytest.approx(1 / count)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("keys", "offset"), [(4, 0), (12, 0), (12, 4), (12, 8)])
def test_info_nce__equals_reference(
    dtype: torch.dtype, tolerance: float, keys: int, offset: int
) -> None:
    """Value and gradient, also with the keys of other processes before and after the own ones."""
    fast_in = features(4, 5).to(dtype).requires_grad_()
    slow_in = features(4, 5).requires_grad_()
    key = features(keys, 5, seed=1)
    fast = info_nce(fast_in, key.to(dtype), 0.3, offset)
    slow = reference.info_nce(slow_in, key, 0.3, offset)
    assert fast.dtype == dtype
    torch.testing.assert_close(fast.double(), slow, rtol=tolerance, atol=tolerance)
    fast.backward()
    slow.backward()
    torch.testing.assert_close(fast_in.grad.double(), slow_in.grad, rtol=tolerance, atol=tolerance)


def test_info_nce__gradient_reaches_queries_only() -> None:
    query, key = features(3, 4).requires_grad_(), features(6, 4, seed=1).requires_grad_()
    info_nce(query, key, 0.2, 2).backward()
    assert key.grad is None
    torch.autograd.gradcheck(lambda q: info_nce(q, key, 0.2, 2), query)


def test_info_nce__lengths_do_not_matter() -> None:
    query, key = features(3, 4), features(3, 4, seed=1)
    scaled = info_nce(query * torch.tensor([[0.1], [1], [50]]), 7 * key, 0.2)
    torch.testing.assert_close(scaled, info_nce(query, key, 0.2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_info_nce__float32_under_autocast(dtype: torch.dtype) -> None:
    query, key = features(8, 16).to(dtype), features(8, 16, seed=1).to(dtype)
    expected = info_nce(query.double(), key.double(), 0.2)
    with torch.autocast("cpu", torch.bfloat16):
        loss = info_nce(query, key, 0.2)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_retrieval_accuracy__counts_own_keys() -> None:
    key = torch.eye(4)
    query = torch.stack([key[1], key[3]])
    assert float(retrieval_accuracy(query, key, 1)) == 0.5
    assert float(retrieval_accuracy(query, key, 0)) == 0.0
    assert float(retrieval_accuracy(key[2:], key, 2)) == 1.0


@pytest.mark.parametrize(
    ("query", "key", "temperature", "offset", "message"),
    [
        ((2, 3), (2, 4), 0.2, 0, r"query has shape \(2, 3\) and key \(2, 4\)"),
        ((2, 1, 3), (2, 3), 0.2, 0, r"\(2, 1, 3\)"),
        ((0, 3), (2, 3), 0.2, 0, "B of at least 1"),
        ((4, 3), (2, 3), 0.2, 0, "4 queries, but only 2 keys"),
        ((2, 3), (6, 3), 0.2, 5, "offset is 5, .* from 0 to 4"),
        ((2, 3), (6, 3), 0.2, -1, "offset is -1"),
        ((2, 3), (2, 3), 0.0, 0, "temperature is 0"),
    ],
)
def test_info_nce__errors(
    query: tuple, key: tuple, temperature: float, offset: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        info_nce(torch.ones(query), torch.ones(key), temperature, offset)
