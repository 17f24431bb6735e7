"""How the patches of a grid lie to each other (RelViT, arXiv 2206.00481): worked examples, and one pair at a time."""

import math

import pytest
import torch
from reference import relvit as reference

from mmrel.ops.position import patch_angles, patch_distances, patch_relations, restore_order

SIDES = [2, 3, 5, 7, 8]


def test_relations__small_grids() -> None:
    assert patch_relations(2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    three = patch_relations(3)
    assert three.dtype == torch.int64 and three.shape == (9, 9)
    assert three[0].tolist() == [4, 3, 3, 1, 0, 0, 1, 0, 0]
    assert three[4].tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert three[:, 4].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("side", "corner", "straight", "same", "majority", "entropy"),
    [
        (2, 1, 2, 4, 4 / 16, None),
        (3, 9, 9, 9, 0.1111, math.log(9)),
        (5, 100, 50, 25, 0.16, 2.1098),
        (7, 441, 147, 49, 0.1837, 2.0085),
        (8, 784, 224, 64, 0.1914, 1.9665),
    ],
)
def test_relations__histograms(
    side: int, corner: int, straight: int, same: int, majority: float, entropy: float | None
) -> None:
    counts = patch_relations(side).flatten().bincount()
    assert counts.tolist() == [
        *(corner, straight, corner),
        *(straight, same, straight),
        *(corner, straight, corner),
    ]
    share = counts.double() / side**4
    assert float(share.max()) == pytest.approx(majority, abs=5e-5)
    if entropy is not None:
        assert float(-(share * share.log()).sum()) == pytest.approx(entropy, abs=5e-5)


@pytest.mark.parametrize("side", SIDES)
def test_relations__equal_the_words(side: int) -> None:
    relations = patch_relations(side)
    assert torch.equal(relations, reference.table(reference.relation, side))
    assert (relations + relations.T == 8).all()


def test_relations__permuted() -> None:
    order = [2, 0, 3, 1]
    permuted = patch_relations(2)[order][:, order]
    assert permuted.tolist() == [[4, 7, 3, 6], [1, 4, 0, 3], [5, 8, 4, 7], [2, 5, 1, 4]]
    assert torch.equal(permuted, reference.table(reference.relation, 2, order))


def test_distances__small_grids() -> None:
    two = patch_distances(2, torch.float64)
    assert two.diagonal().tolist() == [-1] * 4
    assert float(two[0, 1]) == pytest.approx(0.414214, abs=5e-7)
    assert float(two[0, 3]) == pytest.approx(1)
    row = [-1, -0.292893, 0.414214, -0.292893, 0, 0.581139, 0.414214, 0.581139, 1]
    assert patch_distances(3)[0].tolist() == pytest.approx(row, abs=5e-7)
    seven = patch_distances(7)
    assert float(seven[0, 1]) == pytest.approx(-0.7642977, abs=5e-8)
    assert float(seven[0, 8]) == pytest.approx(-0.6666667, abs=1e-7)
    assert float(seven[0, 6]) == pytest.approx(0.4142136, abs=1e-7)
    assert float(seven[0, 48]) == pytest.approx(1)


def test_distances__mean_square() -> None:
    assert float(patch_distances(2).square().mean()) == pytest.approx(0.5857864, abs=1e-7)


def test_angles__small_grid() -> None:
    raw = {(0, 1): 0.102447, (0, 3): 0.002247, (1, 2): 0.204841, (1, 3): 0.102432}
    for (i, j), value in raw.items():
        assert reference.raw_angle(i, j, 2) == pytest.approx(value, abs=5e-7)
    two = patch_angles(2, torch.float64)
    assert float(two[0, 1]) == pytest.approx(0.000253, abs=5e-7)
    assert float(two[0, 3]) == pytest.approx(-0.978062, abs=1e-6)
    assert float(two[1, 2]) == 1
    assert two.diagonal().tolist() == [-1] * 4


@pytest.mark.parametrize("side", SIDES)
def test_regression_targets__equal_the_formulas(side: int) -> None:
    for ours, theirs in (
        (patch_distances, reference.distance),
        (patch_angles, reference.angle),
    ):
        expected = reference.table(theirs, side).double()
        values = ours(side, torch.float64)
        assert (values - expected).abs().max() < 2e-6
        assert ours(side).dtype == torch.float32
        assert torch.equal(values, values.T)


@pytest.mark.parametrize("function", [patch_relations, patch_distances, patch_angles])
@pytest.mark.parametrize("side", [1, 0, -3])
def test_tables__side_below_two(function: object, side: int) -> None:
    with pytest.raises(ValueError, match=rf"the grid has {side} patch\(es\) per side.*at least 2"):
        function(side)


def test_restore_order__undoes_a_permutation() -> None:
    patches = torch.randn(3, 6, 2)
    order = torch.stack([torch.randperm(6) for _ in range(3)])
    shown = torch.stack([image[slots] for image, slots in zip(patches, order, strict=True)])
    assert torch.equal(restore_order(shown, order), patches)
