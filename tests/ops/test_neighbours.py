"""Neighbours on the grid (SelfPatch, arXiv 2206.07990, section 3): worked examples, the slow form, ties, bad input."""

import pytest
import torch
from reference import selfpatch as reference
from torch import Tensor

from mmrel.ops.neighbours import neighbour_indices, select_neighbours

P1 = {
    (4, 4): {
        0: [1, 3, 4, 5, 7, 12, 13, 15], 1: [0, 2, 4, 5, 6, 12, 13, 14], 2: [1, 3, 5, 6, 7, 13, 14, 15],
        3: [0, 2, 4, 6, 7, 12, 14, 15], 4: [0, 1, 3, 5, 7, 8, 9, 11], 5: [0, 1, 2, 4, 6, 8, 9, 10],
        6: [1, 2, 3, 5, 7, 9, 10, 11], 7: [0, 2, 3, 4, 6, 8, 10, 11], 8: [4, 5, 7, 9, 11, 12, 13, 15],
        9: [4, 5, 6, 8, 10, 12, 13, 14], 10: [5, 6, 7, 9, 11, 13, 14, 15], 11: [4, 6, 7, 8, 10, 12, 14, 15],
        12: [0, 1, 3, 8, 9, 11, 13, 15], 13: [0, 1, 2, 8, 9, 10, 12, 14], 14: [1, 2, 3, 9, 10, 11, 13, 15],
        15: [0, 2, 3, 8, 10, 11, 12, 14],
    },
    (6, 6): {
        0: [1, 5, 6, 7, 11, 30, 31, 35], 7: [0, 1, 2, 6, 8, 12, 13, 14], 35: [0, 4, 5, 24, 28, 29, 30, 34],
    },
    (14, 14): {
        0: [1, 13, 14, 15, 27, 182, 183, 195], 13: [0, 12, 14, 26, 27, 182, 194, 195],
        15: [0, 1, 2, 14, 16, 28, 29, 30], 98: [84, 85, 97, 99, 111, 112, 113, 125],
        182: [0, 1, 13, 168, 169, 181, 183, 195], 195: [0, 12, 13, 168, 180, 181, 182, 194],
    },
}  # fmt: skip

P2_DEGREES = [0, 12, 90, 180, 20, 5, 100, 170, 80, 70, 30, 200, 350, 15, 60, 250]
P2_LENGTHS = [1, 2, 0.5, 1, 3, 1, 1, 2, 1, 1, 4, 1, 1, 1, 1, 1]
P2_SELECTED = {5: [0, 1, 4, 10], 0: [5, 12, 1, 13], 15: [11, 3, 12, 0]}
P2_SIMILARITIES = {
    5: [0.9962, 0.9925, 0.9659, 0.9063],
    0: [0.9962, 0.9848, 0.9781, 0.9659],
    15: [0.6428, 0.3420, -0.1736, -0.3420],
}
P2_BY_PRODUCT = {5: [10, 4, 1, 0], 0: [4, 1, 5, 12]}


def p2_tokens() -> Tensor:
    angles = torch.tensor(P2_DEGREES, dtype=torch.float64).deg2rad()
    unit = torch.stack([angles.cos(), angles.sin()], dim=1)
    return (unit * torch.tensor(P2_LENGTHS, dtype=torch.float64)[:, None])[None]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("grid", P1)
def test_neighbour_indices__wraps_around(grid: tuple[int, int]) -> None:
    table = neighbour_indices(*grid)
    assert table.shape == (grid[0] * grid[1], 8) and table.dtype == torch.long
    for patch, expected in P1[grid].items():
        assert table[patch].tolist() == expected


def test_neighbour_indices__three_by_three_is_everything_else() -> None:
    for patch, found in enumerate(neighbour_indices(3, 3).tolist()):
        assert found == [other for other in range(9) if other != patch]


@pytest.mark.parametrize("grid", [(3, 5), (5, 3), (4, 7), (6, 6), (14, 14)])
def test_neighbour_indices__equals_slow_form(grid: tuple[int, int]) -> None:
    assert neighbour_indices(*grid).tolist() == reference.neighbour_table(*grid)


def test_select__worked_example() -> None:
    """Cosine similarity, not the product; patch 0 without wrapping would have candidates 1, 4 and 5 only."""
    tokens = p2_tokens()
    selected = select_neighbours(tokens, (4, 4), 4)
    assert selected.shape == (1, 16, 4) and selected.dtype == torch.long
    unit = tokens[0] / tokens[0].norm(dim=1, keepdim=True)
    for patch, expected in P2_SELECTED.items():
        assert selected[0, patch].tolist() == expected
        similarities = (unit[expected] @ unit[patch]).tolist()
        assert similarities == pytest.approx(P2_SIMILARITIES[patch], abs=5e-5)
    for patch, other in P2_BY_PRODUCT.items():
        table = neighbour_indices(4, 4)[patch]
        assert table[(tokens[0, table] @ tokens[0, patch]).topk(4).indices].tolist() == other
        assert selected[0, patch].tolist() != other
    assert sorted(select_neighbours(tokens, (4, 4), 3, border="clip")[0, 0].tolist()) == [1, 4, 5]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("border", ["wrap", "clip"])
def test_select__equals_slow_form(dtype: torch.dtype, border: str) -> None:
    grid = (4, 5)
    table = reference.neighbour_table(*grid, wrap=border == "wrap")
    for k in (1, 3) if border == "clip" else (1, 4, 8):
        tokens = random(3, 20, 6, seed=k).to(dtype)
        selected = select_neighbours(tokens, grid, k, border)
        for crop, found in zip(tokens.double(), selected.tolist(), strict=True):
            assert found == reference.select_neighbours(crop, table, k)


def test_select__ties_go_to_topk_in_ascending_order() -> None:
    """Equal similarities are resolved as by topk on the ascending candidates: as in the direct form."""
    tokens = torch.randint(0, 2, (2, 36, 2), generator=torch.Generator().manual_seed(0)) + 1.0
    table = neighbour_indices(6, 6)
    unit = torch.nn.functional.normalize(tokens, dim=-1)
    similarities = (unit[:, table] * unit[:, :, None]).sum(-1)
    direct = table.expand(2, -1, -1).gather(2, similarities.topk(4).indices)
    assert torch.equal(select_neighbours(tokens, (6, 6), 4), direct)


def test_select__shifted_map_has_shifted_neighbours() -> None:
    """Exactly, thanks to the wrap-around; with a clipped border it does not hold."""
    grid, tokens = (14, 14), random(2, 196, 8)

    def shift(x: Tensor) -> Tensor:
        return x.unflatten(1, grid).roll((3, 5), dims=(1, 2)).flatten(1, 2)

    place = shift(torch.arange(196)[None])[0].argsort()
    for border, k in (("wrap", 4), ("clip", 3)):
        selected = select_neighbours(tokens, grid, k, border)
        moved = select_neighbours(shift(tokens), grid, k, border)
        assert torch.equal(shift(place[selected]), moved) == (border == "wrap")


def test_select__autocast_and_gradient() -> None:
    """Similarities are in float32 under autocast too, and nothing is differentiated."""
    tokens = random(2, 16, 8).float().requires_grad_()
    plain = select_neighbours(tokens, (4, 4), 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(select_neighbours(tokens, (4, 4), 4), plain)
    assert not plain.requires_grad


@pytest.mark.parametrize(
    ("shape", "grid", "kwargs", "message"),
    [
        ((1, 16, 4), (4, 4), dict(k=9), "k is 9, but a patch has 8 neighbours"),
        ((1, 16, 4), (4, 4), dict(k=0), "k is 0, but a patch has 8 neighbours"),
        ((1, 16, 4), (4, 4), dict(k=4, border="clip"), "k is 4, but .* in a corner has 3"),
        ((1, 16, 4), (4, 4), dict(k=4, border="reflect"), "border is 'reflect'; choose 'wrap'"),
        ((1, 17, 4), (4, 4), dict(k=4), r"\(1, 17, 4\); a grid of 4x4 needs \(B, 16, C\)"),
        ((16, 4), (4, 4), dict(k=4), r"\(16, 4\); a grid of 4x4 needs"),
        ((1, 6, 4), (2, 3), dict(k=4), "grid of patches is 2x3; .* from 3x3 on"),
    ],
)
def test_select__bad_input(shape: tuple, grid: tuple, kwargs: dict, message: str) -> None:
    """Any grid has a table, but the tokens must fit it."""
    with pytest.raises(ValueError, match=message):
        select_neighbours(torch.zeros(shape), grid, **kwargs)


def test_neighbour_indices__bad_input() -> None:
    with pytest.raises(ValueError, match="grid of patches is 3x2"):
        neighbour_indices(3, 2)
