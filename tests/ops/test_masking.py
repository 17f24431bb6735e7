"""Masks: the numbers of iBOT's public code (loader.py) and the plain reference."""

import numpy as np
import pytest
from reference import masking as reference

from mmrel.ops.masking import block_mask, random_mask, sample_ratio


def counts(ratio: float, draws: int, side: int = 14) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([block_mask(side, side, ratio, rng).sum() for _ in range(draws)])


@pytest.mark.parametrize(
    ("target", "mean"), [(19.6, 17.6), (39.2, 38.1), (58.8, 57.3), (78.4, 77.5), (98.0, 97.5)]
)
def test_block_mask__counts_of_the_specification(target: float, mean: float) -> None:
    found = counts(target / 196, 2000)
    assert abs(found.mean() - mean) < 0.3
    assert found.max() <= np.floor(target)


@pytest.mark.parametrize("shape", [(14, 14), (6, 6), (2, 2), (5, 9), (1, 1)])
@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.37, 1.0])
def test_block_mask__equals_plain_loops(shape: tuple[int, int], ratio: float) -> None:
    for seed in range(20):
        fast = block_mask(*shape, ratio, np.random.default_rng(seed))
        slow = reference.block_mask(*shape, ratio, np.random.default_rng(seed))
        assert fast.shape == shape and fast.dtype == bool
        assert fast.tolist() == slow


def test_recipe__share_of_hidden_patches() -> None:
    rng = np.random.default_rng(1)
    masks = [
        block_mask(14, 14, sample_ratio((0.0, 0.3), (0.0, 0.2), rng), rng) for _ in range(4000)
    ]
    share = np.array([mask.mean() for mask in masks])
    assert abs(share.mean() - 0.146) < 0.01
    assert abs((share == 0).mean() - 0.5) < 0.03
    assert abs(share[share > 0].mean() - 0.294) < 0.01


def test_sample_ratio__distribution() -> None:
    rng = np.random.default_rng(2)
    drawn = np.array([sample_ratio((0.0, 0.3), (0.0, 0.2), rng) for _ in range(10_000)])
    positive = drawn[drawn > 0]
    assert abs((drawn == 0).mean() - 0.5) < 0.02
    assert positive.min() >= 0.1 and positive.max() <= 0.5
    assert abs(positive.mean() - 0.3) < 0.01
    assert np.abs(np.quantile(positive, [0.25, 0.5, 0.75]) - [0.2, 0.3, 0.4]).max() < 0.01


def test_sample_ratio__fixed() -> None:
    assert sample_ratio((0.3,), (0.0,), np.random.default_rng(0)) == 0.3


@pytest.mark.parametrize(("ratio", "count"), [(0.0, 0), (0.3, 58), (0.5, 98), (1.0, 196)])
def test_random_mask__exact_count(ratio: float, count: int) -> None:
    rng = np.random.default_rng(0)
    masks = [random_mask(14, 14, ratio, rng) for _ in range(3)]
    assert [int(mask.sum()) for mask in masks] == [count] * 3


def test_masks__same_generator_state_gives_same_mask() -> None:
    first, second = (block_mask(14, 14, 0.4, np.random.default_rng(3)) for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_block_mask__refuses_ratio(ratio: float) -> None:
    with pytest.raises(ValueError, match=r"mask ratio .* \[0, 1\]"):
        block_mask(14, 14, ratio, np.random.default_rng(0))


def test_block_mask__refuses_empty_grid() -> None:
    with pytest.raises(ValueError, match="patch grid is 0 x 14"):
        block_mask(0, 14, 0.3, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("ratios", "spreads"), [((0.1,), (0.2,)), ((0.9,), (0.2,)), ((0.1,), ()), ((), ())]
)
def test_sample_ratio__refuses(ratios: tuple, spreads: tuple) -> None:
    with pytest.raises(ValueError, match="spread"):
        sample_ratio(ratios, spreads, np.random.default_rng(0))
