"""The sampler: a permutation per epoch, divided among ranks, resumable."""

from unittest.mock import patch

import pytest

from mmrel.datasets import KeyedSampler
from mmrel.structures import SampleKey


def sampler(size: int = 10, rank: int = 0, world: int = 1, **options: object) -> KeyedSampler:
    with patch("mmengine.dataset.sampler.get_dist_info", return_value=(rank, world)):
        return KeyedSampler(list(range(size)), seed=7, **options)


def test_sampler__every_sample_once_with_seed_and_epoch() -> None:
    keys = list(sampler())
    assert all(isinstance(key, SampleKey) for key in keys)
    assert sorted(key.index for key in keys) == list(range(10))
    assert {(key.seed, key.epoch) for key in keys} == {(7, 0)}


def test_sampler__epochs_differ_and_repeat() -> None:
    one = sampler()
    first = list(one)
    assert list(one) == first
    one.set_epoch(1)
    second = list(one)
    assert [k.index for k in second] != [k.index for k in first] and second[0].epoch == 1


def test_sampler__without_shuffling() -> None:
    assert [key.index for key in sampler(shuffle=False)] == list(range(10))


@pytest.mark.parametrize(("round_up", "lengths"), [(True, [4, 4, 4]), (False, [4, 3, 3])])
def test_sampler__ranks_share_the_epoch(round_up: bool, lengths: list[int]) -> None:
    parts = [list(sampler(rank=r, world=3, round_up=round_up)) for r in range(3)]
    assert [len(part) for part in parts] == lengths
    whole = [key.index for key in sampler()]
    assert [p.index for row in zip(*parts, strict=False) for p in row][:9] == whole[:9]
    assert {key.index for part in parts for key in part} == set(range(10))


@pytest.mark.parametrize("skipped", [0, 3, 10])
def test_skip__only_the_next_iteration_begins_later(skipped: int) -> None:
    one = sampler()
    whole = list(one)
    one.skip(skipped)
    assert len(one) == 10
    assert list(one) == whole[skipped:]
    assert list(one) == whole


@pytest.mark.parametrize("skipped", [-1, 11])
def test_skip__refuses(skipped: int) -> None:
    with pytest.raises(ValueError, match=f"cannot skip {skipped} samples; this rank has 10"):
        sampler().skip(skipped)


def test_sampler__refuses_empty_data_set() -> None:
    with pytest.raises(ValueError, match="0 samples"):
        sampler(size=0)
