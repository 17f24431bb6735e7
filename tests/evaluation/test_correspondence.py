"""Matches and their accuracy, against slow loops and crops whose geometry is exact."""

import pytest
import torch
from reference import correspondence as reference

from mmrel.evaluation.correspondence import (
    correct_matches,
    correspondence_accuracy,
    cosine_similarities,
    draw_boxes,
    most_salient,
    mutual_nearest,
    nearest_patches,
    patch_centers,
    true_cells,
)

WHOLE = (0.0, 0.0, 60.0, 40.0, 0.0)
GRID = (4, 6)


def tokens(count: int = 24, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, generator=rng, dtype=torch.float64)


def boxes(second: tuple[float, ...], first: tuple[float, ...] = WHOLE) -> torch.Tensor:
    return torch.tensor([first, second])


def test_mutual_nearest__equals_the_loop() -> None:
    first, second = tokens(30), tokens(20, seed=1)
    found = mutual_nearest(first, second)
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert pairs == reference.mutual_pairs(first.tolist(), second.tolist())
    assert len(found) == len(pairs) > 3
    assert (found.similarity.diff() <= 0).all()
    for i, j, value in zip(found.first, found.second, found.similarity, strict=True):
        assert float(value) == pytest.approx(
            reference.cosine(first[i].tolist(), second[j].tolist())
        )


def test_most_salient__product_of_both() -> None:
    first = second = torch.eye(4)
    matches = mutual_nearest(first, second)
    chosen = most_salient(
        matches, torch.tensor([1.0, 2, 3, 4]), torch.tensor([9.0, 1.0, 8.0, 0.0]), 3
    )
    assert chosen.first.tolist() == [2, 0, 1]


def test_patch_centers__by_hand() -> None:
    """A 2 x 4 grid over 40 x 20 pixels from (10, 5): centres every 10 pixels, mirrored when flipped."""
    box = torch.tensor([10.0, 5.0, 40.0, 20.0, 0.0])
    assert patch_centers(box, (2, 4)).tolist()[:5] == [
        [15, 10],
        [25, 10],
        [35, 10],
        [45, 10],
        [15, 20],
    ]
    box[4] = 1
    assert patch_centers(box, (2, 4)).tolist()[:2] == [[45, 10], [35, 10]]


@pytest.mark.parametrize("radius", [0, 1])
@pytest.mark.parametrize(
    ("first", "second", "grids"),
    [
        (WHOLE, (7.0, 3.0, 41.0, 29.0, 0.0), (GRID, (5, 5))),
        ((3.0, 1.0, 50.0, 30.0, 1.0), (20.0, 9.0, 40.0, 31.0, 0.0), (GRID, GRID)),
        ((3.0, 1.0, 50.0, 30.0, 1.0), (20.0, 9.0, 40.0, 31.0, 1.0), ((3, 7), GRID)),
    ],
)
def test_accuracy__equals_the_loop(
    first: tuple[float, ...], second: tuple[float, ...], grids: tuple, radius: int
) -> None:
    """Tokens are smooth functions of the place with some noise, so that some matches are right."""
    both = boxes(second, first)
    views = []
    for box, grid in zip(both, grids, strict=True):
        x, y = (patch_centers(box, grid) / 10).unbind(1)
        waves = torch.stack([x.sin(), x.cos(), y.sin(), y.cos(), (x * y).sin()], dim=1)
        views.append(waves + 0.5 * tokens(len(waves), seed=len(views)))
    found = correspondence_accuracy(*views, both, grids, radius)
    pair = tuple(tuple(box) for box in both.tolist())
    wanted = reference.accuracy(views[0].tolist(), views[1].tolist(), pair, grids, radius)
    assert found == pytest.approx(wanted)
    assert 0 < found[0] < 100


def test_accuracy__the_same_crop() -> None:
    assert correspondence_accuracy(tokens(), tokens(), boxes(WHOLE), (GRID, GRID), 0) == (100, 24)


def test_accuracy__the_same_crop_flipped() -> None:
    """The right match of a patch is its mirror image; unflipped tokens are then wrong but for none of 6 columns."""
    flipped = (*WHOLE[:4], 1.0)
    mirrored = tokens().unflatten(0, GRID).flip(1).flatten(0, 1)
    assert correspondence_accuracy(tokens(), mirrored, boxes(flipped), (GRID, GRID), 0)[0] == 100
    assert correspondence_accuracy(tokens(), tokens(), boxes(flipped), (GRID, GRID), 0)[0] == 0
    # Columns 2 and 3 are their own mirror image to within one patch.
    near = correspondence_accuracy(tokens(), tokens(), boxes(flipped), (GRID, GRID), 1)[0]
    assert near == pytest.approx(100 / 3)


def test_accuracy__a_crop_of_half() -> None:
    """The right half of the photograph, at the same scale: 12 patches are shared, and the first view's are found."""
    half = (30.0, 0.0, 30.0, 40.0, 0.0)
    own = tokens().unflatten(0, GRID)[:, 3:].flatten(0, 1)
    assert correspondence_accuracy(tokens(), own, boxes(half), (GRID, (4, 3)), 0) == (100, 12)
    assert correspondence_accuracy(own, tokens(), boxes(half).flip(0), ((4, 3), GRID), 0) == (
        100,
        12,
    )


def test_accuracy__a_shift_by_one_patch() -> None:
    """Tokens that stay where they were although the crop moved by one patch: wrong at radius 0, right at 1."""
    moved = (10.0, 0.0, 60.0, 40.0, 0.0)
    pair = boxes(moved)
    assert correspondence_accuracy(tokens(), tokens(), pair, (GRID, GRID), 0) == (0, 20)
    assert correspondence_accuracy(tokens(), tokens(), pair, (GRID, GRID), 1) == (100, 20)


def test_correct_matches__none_outside() -> None:
    """A patch that the second view does not show is never matched correctly."""
    half = boxes((30.0, 0.0, 30.0, 40.0, 0.0))
    cells = true_cells(half[0], half[1], (GRID, (4, 3)))
    assert (cells[:, 0] < 0).sum() == 12
    matches = nearest_patches(tokens(), tokens(12, seed=1))
    assert not correct_matches(matches, cells, (4, 3), 9)[cells[:, 0] < 0].any()


def test_accuracy__refuses() -> None:
    apart = boxes((70.0, 0.0, 10.0, 10.0, 0.0))
    with pytest.raises(ValueError, match="share no patch"):
        correspondence_accuracy(tokens(), tokens(), apart, (GRID, GRID))
    with pytest.raises(ValueError, match="24 tokens for a grid of 5 x 5"):
        correspondence_accuracy(tokens(), tokens(), boxes(WHOLE), ((5, 5), GRID))
    with pytest.raises(ValueError, match="radius is -1"):
        correspondence_accuracy(tokens(), tokens(), boxes(WHOLE), (GRID, GRID), -1)
    with pytest.raises(ValueError, match=r"shapes \(24, 5\) and \(4, 3\)"):
        cosine_similarities(tokens(), torch.randn(4, 3))


@pytest.mark.parametrize("size", [(400, 600), (100, 30), (33, 500), (7, 7)])
def test_draw_boxes__inside_large_enough_and_overlapping(size: tuple[int, int]) -> None:
    height, width = size
    drawn = torch.stack([draw_boxes(height, width, seed) for seed in range(60)])
    x, y, w, h, flip = drawn.unbind(-1)
    assert ((x >= 0) & (y >= 0) & (x + w <= width) & (y + h <= height)).all()
    assert ((w * h) / (width * height) > 0.3).all()
    assert set(flip.flatten().tolist()) == {0, 1}
    assert torch.equal(draw_boxes(height, width, 3), drawn[3])
    left, right = x.amax(1), (x + w).amin(1)
    assert (left < right).all() and (y.amax(1) < (y + h).amin(1)).all()
