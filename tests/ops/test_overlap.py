"""Overlap lattices and token sampling (SERE, arXiv 2206.05184, section 3.2): worked examples and the slow forms."""

import pytest
import torch
import torch.nn.functional as F
from reference import overlap as reference
from torch import Tensor

from mmrel.ops.overlap import overlap_lattice, sample_selected_tokens, sample_tokens

DTYPES = ((torch.float64, 1e-10), (torch.float32, 1e-5))


def random_boxes(count: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=rng, dtype=dtype) * 60
    size = torch.rand(count, 2, generator=rng, dtype=dtype) * 50 + 10
    flip = torch.randint(0, 2, (count, 1), generator=rng).to(dtype)
    return torch.cat([corner, size, flip], dim=1)


def pair(query: tuple, key: tuple, side: int) -> tuple[Tensor, Tensor]:
    lattices = overlap_lattice(torch.tensor([query]).float(), torch.tensor([key]).float(), side)
    return lattices[0][0], lattices[1][0]


def assert_axes(lattice: Tensor, x: list[float], y: list[float]) -> None:
    side = len(x)
    torch.testing.assert_close(lattice[..., 0], torch.tensor(x).float().expand(side, side))
    torch.testing.assert_close(lattice[..., 1], torch.tensor(y).float()[:, None].expand(side, side))


def test_overlap_lattice__worked_example() -> None:
    """Worked by hand: two crops that overlap in part, one flipped."""
    a, b = pair((10, 20, 100, 80, 0), (50, 40, 120, 100, 1), 3)
    assert_axes(a, [-0.2, 0.4, 1.0], [-0.5, 0.25, 1.0])
    assert_axes(b, [1.0, 0.5, 0.0], [-1.0, -0.4, 0.2])


def test_overlap_lattice__touching_boxes() -> None:
    """Crops that touch do not overlap."""
    for lattice in pair((0, 0, 50, 50, 0), (50, 0, 50, 50, 0), 5):
        assert (lattice == -2).all()


def test_overlap_lattice__identical_boxes() -> None:
    """Equal crops: the lattice runs from border to border."""
    ends = [-1 + 2 * i / 12 for i in range(13)]
    for lattice in pair((3, 5, 70, 31, 0), (3, 5, 70, 31, 0), 13):
        assert_axes(lattice, ends, ends)


def test_overlap_lattice__local_and_global() -> None:
    """A local crop inside a flipped global one."""
    local, whole = pair((60, 50, 40, 40, 0), (10, 20, 100, 80, 1), 2)
    assert_axes(local, [-1, 1], [-1, 1])
    assert_axes(whole, [0.0, -0.8], [-0.25, 0.75])


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_overlap_lattice__equals_reference(dtype: torch.dtype, tolerance: float) -> None:
    query, key = random_boxes(40, 0), random_boxes(40, 1)
    expected = reference.overlap_lattice(query, key, 4)
    assert (expected[0] == -2).any() and (expected[0] != -2).any()
    for fast, slow in zip(
        overlap_lattice(query.to(dtype), key.to(dtype), 4), expected, strict=True
    ):
        assert fast.dtype == dtype
        torch.testing.assert_close(fast.double(), slow, rtol=tolerance, atol=tolerance)


def test_overlap_lattice__integer_and_empty_boxes() -> None:
    boxes = torch.tensor([[0, 0, 10, 10, 1]])
    assert overlap_lattice(boxes, boxes, 2)[0].dtype == torch.float32
    assert overlap_lattice(boxes[:0], boxes[:0], 2)[0].shape == (0, 2, 2, 2)


def test_overlap_lattice__degenerate_box() -> None:
    empty, box = torch.tensor([[5.0, 5, 0, 0, 0]]), torch.tensor([[0.0, 0, 10, 10, 0]])
    for lattice in overlap_lattice(empty, box, 3):
        assert (lattice == -2).all()


@pytest.mark.parametrize(
    ("query", "key", "side", "words"),
    [
        ((2, 5), (2, 5), 1, "side is 1"),
        ((2, 4), (2, 4), 3, r"\(2, 4\).*\(B, 5\)"),
        ((2, 5), (3, 5), 3, r"\(2, 5\).*\(3, 5\)"),
        ((5,), (5,), 3, r"\(5,\).*\(B, 5\)"),
    ],
)
def test_overlap_lattice__bad_input(query: tuple, key: tuple, side: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        overlap_lattice(torch.zeros(query), torch.zeros(key), side)


def test_sample_tokens__sampling_matrix() -> None:
    """The samples of the identity are the sampling matrix."""
    lattice, _ = pair((10, 20, 100, 80, 0), (50, 40, 120, 100, 1), 3)
    matrix = sample_tokens(torch.eye(4)[None], lattice[None], (2, 2))[0]
    expected = [
        [0.7, 0.3, 0, 0],
        [0.1, 0.9, 0, 0],
        [0, 0.5, 0, 0],
        [0.175, 0.075, 0.525, 0.225],
        [0.025, 0.225, 0.075, 0.675],
        [0, 0.125, 0, 0.375],
        [0, 0, 0.35, 0.15],
        [0, 0, 0.05, 0.45],
        [0, 0, 0, 0.25],
    ]
    torch.testing.assert_close(matrix, torch.tensor(expected))
    assert matrix.sum(1).tolist() == pytest.approx([1, 1, 0.5, 1, 1, 0.5, 0.5, 0.5, 0.25])


def test_sample_tokens__border_weights() -> None:
    """A lattice over the whole view; outside, nothing."""
    lattice, _ = pair((0, 0, 9, 9, 0), (0, 0, 9, 9, 0), 3)
    ones = torch.ones(1, 196, 1)
    weights = sample_tokens(ones, lattice[None], (14, 14)).flatten()
    assert weights.tolist() == pytest.approx([0.25, 0.5, 0.25, 0.5, 1, 0.5, 0.25, 0.5, 0.25])
    assert not sample_tokens(ones, torch.full((1, 3, 3, 2), -2.0), (14, 14)).any()


def test_sample_tokens__flip_consistency() -> None:
    """A mirrored map with flip 1 gives the samples of the map with flip 0."""
    tokens = torch.randn(1, 12, 5, generator=torch.Generator().manual_seed(0))
    mirrored = tokens.unflatten(1, (3, 4)).flip(2).flatten(1, 2)
    other = (40, 10, 90, 80, 0)
    plain, _ = pair((10, 20, 100, 80, 0), other, 5)
    flipped, _ = pair((10, 20, 100, 80, 1), other, 5)
    torch.testing.assert_close(
        sample_tokens(mirrored, flipped[None], (3, 4)), sample_tokens(tokens, plain[None], (3, 4))
    )


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("grid", [(3, 4), (1, 5), (6, 6)])
def test_sample_tokens__equals_reference(
    dtype: torch.dtype, tolerance: float, grid: tuple[int, int]
) -> None:
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randn(3, grid[0] * grid[1], 4, generator=rng, dtype=torch.float64)
    lattice = torch.rand(3, 5, 5, 2, generator=rng, dtype=torch.float64) * 3 - 1.5
    upstream = torch.randn(3, 25, 4, generator=rng, dtype=torch.float64)
    fast_in, slow_in = tokens.to(dtype).requires_grad_(), tokens.clone().requires_grad_()
    fast = sample_tokens(fast_in, lattice.to(dtype), grid)
    slow = reference.sample_tokens(slow_in, lattice, grid)
    assert fast.dtype == dtype
    torch.testing.assert_close(fast.double(), slow, rtol=tolerance, atol=tolerance)
    (fast_gradient,) = torch.autograd.grad(fast, fast_in, upstream.to(dtype))
    (slow_gradient,) = torch.autograd.grad(slow, slow_in, upstream)
    torch.testing.assert_close(
        fast_gradient.double(), slow_gradient, rtol=tolerance, atol=tolerance
    )


def test_sample_tokens__equals_grid_sample() -> None:
    rng = torch.Generator().manual_seed(1)
    tokens = torch.randn(2, 12, 6, generator=rng)
    lattice = torch.rand(2, 4, 4, 2, generator=rng) * 3 - 1.5
    maps = tokens.transpose(1, 2).unflatten(2, (3, 4))
    expected = F.grid_sample(maps, lattice, padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(
        sample_tokens(tokens, lattice, (3, 4)), expected.flatten(2).transpose(1, 2)
    )


def test_sample_tokens__half_precision_and_autocast() -> None:
    rng = torch.Generator().manual_seed(2)
    tokens = torch.randn(2, 12, 6, generator=rng).bfloat16()
    lattice = torch.rand(2, 4, 4, 2, generator=rng) * 2 - 1
    exact = sample_tokens(tokens.float(), lattice, (3, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert sample_tokens(tokens, lattice, (3, 4)).dtype == torch.bfloat16
        selected = sample_selected_tokens(tokens, torch.arange(2), lattice, (3, 4))
    torch.testing.assert_close(selected, exact)


def test_sample_selected_tokens__shared_maps() -> None:
    rng = torch.Generator().manual_seed(3)
    tokens = torch.randn(2, 12, 6, generator=rng, dtype=torch.float64, requires_grad=True)
    lattice = torch.rand(5, 3, 3, 2, generator=rng, dtype=torch.float64) * 2 - 1
    maps = torch.tensor([1, 0, 0, 1, 0])
    shared = sample_selected_tokens(tokens, maps, lattice, (4, 3))
    copied = sample_tokens(tokens[maps], lattice, (4, 3))
    torch.testing.assert_close(shared, copied)
    upstream = torch.randn(shared.shape, generator=rng, dtype=torch.float64)
    gradients = [torch.autograd.grad(s, tokens, upstream)[0] for s in (shared, copied)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("tokens", "lattice", "grid", "words"),
    [
        ((2, 12, 3), (2, 4, 4, 2), (3, 3), r"grid \(3, 3\) has 9 tokens.*\(2, 12, 3\).*12"),
        ((2, 12, 3), (2, 4, 5, 2), (3, 4), r"\(2, 4, 5, 2\).*\(B, S, S, 2\)"),
        ((2, 12, 3), (1, 4, 4, 2), (3, 4), "same batch size"),
        ((12, 3), (2, 4, 4, 2), (3, 4), r"\(12, 3\).*\(B, N, C\)"),
    ],
)
def test_sample_tokens__bad_input(
    tokens: tuple, lattice: tuple, grid: tuple[int, int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        sample_tokens(torch.zeros(tokens), torch.zeros(lattice), grid)


def test_sample_selected_tokens__bad_input() -> None:
    with pytest.raises(ValueError, match="3 map indices"):
        sample_selected_tokens(
            torch.zeros(2, 4, 3), torch.arange(3), torch.zeros(2, 2, 2, 2), (2, 2)
        )
