"""Many tensors, each times its own factor: the kernel, interpreted, and torch's form."""

from pathlib import Path

import pytest
import torch
from interpreted import interpreted
from torch import Tensor

from mmrel.ops.scaling import CHUNK, scale_each

SIZES = [(7,), (0,), (CHUNK,), (CHUNK + 1,), (3, 5), (2, 2 * CHUNK)]


def tensors() -> tuple[list[Tensor], Tensor]:
    rng = torch.Generator().manual_seed(0)
    factors = torch.tensor([0.3, 0.5, 1.0, 0.7, float("nan"), 1e-3])
    return [torch.randn(size, generator=rng) for size in SIZES], factors


def assert_scaled(found: list[Tensor]) -> None:
    values, factors = tensors()
    for tensor, value, factor in zip(found, values, factors, strict=True):
        assert torch.equal(tensor.nan_to_num(), (value * factor).nan_to_num())


def test_scale_each__equals_a_plain_loop_bitwise() -> None:
    values, factors = tensors()
    scale_each(values, factors)
    assert_scaled(values)
    scale_each([], torch.empty(0))


def test_kernel__equals_a_plain_loop_bitwise(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    calls = {"scale": ("mmrel.ops.scaling:_scale_each", tensors())}
    assert_scaled(interpreted(calls, tmp_path)["scale"][1][0])


@pytest.mark.gpu
def test_scale_each__on_a_gpu_equals_a_plain_loop_bitwise() -> None:
    values, factors = tensors()
    values = [value.cuda() for value in values]
    scale_each(values, factors.cuda())
    assert_scaled([value.cpu() for value in values])
