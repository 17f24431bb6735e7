"""Bilinear sampling as a matrix product: against the slow form and the gather, and where nothing is sampled."""

import pytest
import torch
from reference.overlap import sampling_matrix

from mmrel.ops.overlap import OUTSIDE, sample_tokens
from mmrel.ops.sampling_matrices import sampling_matrices

GRIDS = ((4, 4), (2, 3), (1, 5))


def lattice(batch: int, side: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    points = 1.5 * torch.rand(batch, side, side, 2, generator=rng, dtype=torch.float64) - 0.75
    points[0, 0, 0], points[0, 0, 1] = torch.tensor([-1.0, 1]), torch.tensor([1.0, 0.5])
    return 1.6 * points


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_sampling_matrices__equal_reference(grid: tuple[int, int]) -> None:
    points = lattice(3, 3)
    found = sampling_matrices(points, grid, torch.float64)
    expected = torch.stack([sampling_matrix(p, grid) for p in points]).double()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    half = sampling_matrices(points.float(), grid, torch.bfloat16)
    torch.testing.assert_close(half, expected.bfloat16(), rtol=2**-7, atol=1e-6)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_sampling_matrices__equal_the_gather(grid: tuple[int, int]) -> None:
    """Tokens and gradients; further leading axes stay."""
    points = lattice(4, 3)
    tokens = torch.randn(4, grid[0] * grid[1], 5, dtype=torch.float64, requires_grad=True)
    matrices = sampling_matrices(points.unflatten(0, (2, 2)), grid, torch.float64)
    assert matrices.shape == (2, 2, 9, grid[0] * grid[1])
    product, gather = matrices.flatten(0, 1) @ tokens, sample_tokens(tokens, points, grid)
    torch.testing.assert_close(product, gather, rtol=1e-10, atol=1e-10)
    upstream = torch.randn_like(gather)
    gradients = (torch.autograd.grad(x, tokens, upstream)[0] for x in (product, gather))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_sampling_matrices__outside() -> None:
    nowhere = torch.full((1, 2, 2, 2), OUTSIDE)
    assert not sampling_matrices(nowhere, (3, 3), torch.bfloat16).any()
