"""Resizing by matrices against torch's interpolation: values, gradients, and the grid that stays."""

import pytest
import torch
from torch.nn import functional as F

from mmrel.ops.position import resize_position_embedding
from mmrel.ops.resize_matrices import resized_positions

SOURCE = (14, 14)
GRIDS = [(10, 15), (14, 15), (37, 30), (6, 6), (1, 1)]


def wanted(position: torch.Tensor, grid: tuple[int, int], method: str) -> torch.Tensor:
    if method != "antialias":
        return resize_position_embedding(position, SOURCE, grid, 0, method)
    maps = position.transpose(1, 2).unflatten(2, SOURCE)
    return F.interpolate(maps, grid, mode="bicubic", antialias=True).flatten(2).transpose(1, 2)


@pytest.mark.parametrize("method", ["size", "dino", "antialias"])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_positions__equal_torch_s_with_gradients(
    method: str, grid: tuple[int, int], dtype: torch.dtype, bound: float
) -> None:
    position = torch.randn(1, 196, 8, dtype=dtype, requires_grad=True)
    found, expected = (
        resized_positions(position, SOURCE, *grid, method),
        wanted(position, grid, method),
    )
    assert found.dtype == dtype and found.shape == expected.shape
    weights = torch.randn_like(found)
    (own,) = torch.autograd.grad((found * weights).sum(), position)
    (theirs,) = torch.autograd.grad((expected * weights).sum(), position)
    for left, right in ((found, expected), (own, theirs)):
        assert (left - right).abs().max() <= bound * right.abs().max()


@pytest.mark.parametrize("method", ["size", "dino", "antialias"])
def test_positions__stay_bit_for_bit_on_their_own_grid(method: str) -> None:
    position = torch.randn(1, 196, 8)
    assert torch.equal(resized_positions(position, SOURCE, *SOURCE, method), position)
