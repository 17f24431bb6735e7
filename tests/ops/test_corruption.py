"""Corruption by groups of blocks (SiT, arXiv 2104.03602): statistics, the plain reference, filling, and bad input."""

import numpy as np
import pytest
import torch
from reference import corruption as reference

from mmrel.ops.corruption import (
    Material,
    blank,
    check_blocks,
    draw_group,
    group_mask,
    overwrite,
    pack_mask,
    parse_materials,
    rearrange,
    round_sides,
    self_origin,
    unpack_mask,
)

SIDE, PATCH = 224, 16
# By an independent program over 300 images (150 for one setting): masked share, number of blocks, patches fully /
# partly / not masked, top and bottom 16 rows; each with the standard deviation over images (for the last five measured
# over 4000 images).
TABLE = {
    (0.5, 1): (
        (0.511, 40, 0.25, 0.52, 0.23, 0.17, 0.54),
        (0.010, 7, 0.032, 0.055, 0.036, 0.12, 0.165),
    ),
    (0.3, 1): (
        (0.314, 20.5, 0.13, 0.42, 0.45, 0.09, 0.35),
        (0.012, 4, 0.025, 0.052, 0.041, 0.096, 0.169),
    ),
    (0.7, 1): (
        (0.610, 54, 0.33, 0.52, 0.15, 0.22, 0.66),
        (0.057, 13, 0.061, 0.054, 0.051, 0.132, 0.16),
    ),
    (0.5, 16): ((0.511, 23, 0.51, 0, 0.49, 0.27, 0.40), (0.012, 4, 0.012, 0, 0.012, 0.187, 0.199)),
    (0.3, 16): ((0.316, 12, 0.32, 0, 0.68, 0.15, 0.22), (0.014, 2, 0.014, 0, 0.014, 0.156, 0.177)),
}
ROUNDING = (0.0005, 0.5, 0.005, 0.005, 0.005, 0.005, 0.005)
CENTER = {(0.5, 1): 0.62, (0.3, 1): 0.38, (0.7, 1): 0.71, (0.5, 16): 0.63, (0.3, 16): 0.41}
DRAWS_BEHIND = {(0.7, 1): 150}


def statistics(area: float, align: int, draws: int, seed: int) -> np.ndarray:
    """One row per image: the columns of ``TABLE`` and the share of the central 16 pixels square."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(draws):
        mask, blocks = draw_group(SIDE, SIDE, area, align, rng)
        patches = mask.reshape(SIDE // PATCH, PATCH, SIDE // PATCH, PATCH).mean(axis=(1, 3))
        full, none = (patches == 1).mean(), (patches == 0).mean()
        middle = slice(SIDE // 2 - 8, SIDE // 2 + 8)
        rows.append(
            (
                *(mask.mean(), len(blocks), full, 1 - full - none, none),
                *(mask[:PATCH].mean(), mask[-PATCH:].mean(), mask[middle, middle].mean()),
            )
        )
    return np.array(rows)


def check_table(setting: tuple[float, int], draws: int) -> None:
    """Means within 3 standard errors of the difference, plus half a unit of the table's last digit."""
    found = statistics(*setting, draws, seed=0)
    wanted, spread = (np.array(row) for row in TABLE[setting])
    error = 3 * spread * np.sqrt(1 / draws + 1 / DRAWS_BEHIND.get(setting, 300))
    difference = np.abs(found.mean(axis=0)[:7] - wanted)
    assert (difference <= error + np.array(ROUNDING)).all(), (difference, error)
    center_error = 3 * found[:, 7].std() * np.sqrt(1 / draws + 1 / 300) + 0.005
    assert abs(found[:, 7].mean() - CENTER[setting]) <= center_error
    assert abs(found[:, 0].std() - spread[0]) <= error[0] + 0.0005
    lowest = min(setting[0], 0.5)
    assert found[:, 0].min() >= lowest and found[:, 0].max() < setting[0] + 66 * 66 / SIDE**2


@pytest.mark.parametrize("setting", TABLE)
def test_group_mask__statistics(setting: tuple[float, int]) -> None:
    """Masked share, number of blocks, whole patches, and the bias against the top left."""
    check_table(setting, 300)


@pytest.mark.slow
@pytest.mark.parametrize("setting", TABLE)
def test_group_mask__statistics_many_draws(setting: tuple[float, int]) -> None:
    check_table(setting, 5000)


@pytest.mark.parametrize(
    ("height", "width", "area", "align", "block"),
    [
        (40, 40, 0.5, 1, 0.3),
        (40, 56, 0.3, 1, 0.3),
        (56, 40, 0.7, 4, 0.3),
        (64, 64, 0.5, 8, 0.3),
        (33, 50, 0.4, 4, 0.5),
        (24, 24, 0.2, 5, 0.5),
    ],
)
def test_group_mask__equals_plain_loops(
    height: int, width: int, area: float, align: int, block: float
) -> None:
    for seed in range(15):
        mask, blocks = draw_group(height, width, area, align, np.random.default_rng(seed), block)
        slow, rectangles = reference.group_mask(
            height, width, area, align, np.random.default_rng(seed), block
        )
        assert mask.shape == (height, width) and mask.dtype == bool
        assert mask.tolist() == slow
        assert [(r.start, r.stop, c.start, c.stop) for r, c in blocks] == rectangles


def test_group_mask__is_the_mask_of_draw_group() -> None:
    for seed in range(3):
        alone = group_mask(64, 48, 0.5, 4, np.random.default_rng(seed))
        assert (alone == draw_group(64, 48, 0.5, 4, np.random.default_rng(seed))[0]).all()


def test_group_mask__aligned_masks_are_constant_in_patches() -> None:
    """Row and column 13 of the patches never start a block."""
    rng = np.random.default_rng(1)
    starts = set()
    for _ in range(200):
        mask, blocks = draw_group(SIDE, SIDE, 0.3, PATCH, rng)
        patches = mask.reshape(14, PATCH, 14, PATCH)
        assert (patches == patches[:, :1, :, :1]).all()
        starts |= {side.start for block in blocks for side in block}
    assert starts == {16 * i for i in range(13)}


def test_group_mask__sides() -> None:
    """Section 3.4: 1 to 66 pixels at align 1; at align 16, before clipping, 16, 32, 48 and 64 with these chances."""
    rng = np.random.default_rng(2)
    sides = {1: [], PATCH: []}
    for align, found in sides.items():
        for _ in range(300):
            for rows, _cols in draw_group(SIDE, SIDE, 0.5, align, rng)[1]:
                if rows.start <= SIDE - 80:
                    found.append(rows.stop - rows.start)
    assert (min(sides[1]), max(sides[1])) == (1, 66)
    assert np.mean(sides[1]) == pytest.approx(33.5, abs=3 * 19 / np.sqrt(len(sides[1])))
    values, counts = np.unique(sides[PATCH], return_counts=True)
    assert values.tolist() == [16, 32, 48, 64]
    chances = np.array([8, 17, 15, 11]) / 51
    errors = np.sqrt(chances * (1 - chances) / counts.sum())
    assert (np.abs(counts / counts.sum() - chances) < 3 * errors).all()


def test_round_sides__to_multiples_of_align() -> None:
    assert round_sides(np.array([23, 24, 40, 56]), 16).tolist() == [16, 32, 32, 64]
    assert round_sides(np.arange(1, 70), 1).tolist() == list(range(1, 70))


@pytest.mark.parametrize("seed", range(5))
def test_self_origin__equals_copies_in_order(seed: int) -> None:
    """Blocks copied from the image itself, also from what an earlier copy has overwritten."""
    image = torch.randn(3, 24, 32, generator=torch.Generator().manual_seed(seed))
    mask, blocks = draw_group(24, 32, 0.6, 2, np.random.default_rng(seed))
    origin = self_origin(24, 32, blocks, 2, np.random.default_rng(seed + 100))
    uniform = np.random.default_rng(seed + 100).random((len(blocks), 2)).tolist()
    rectangles = [(r.start, r.stop, c.start, c.stop) for r, c in blocks]
    places = [
        (2 * (int(u * (24 - b + t + 1)) // 2), 2 * (int(v * (32 - r + le + 1)) // 2))
        for (u, v), (t, b, le, r) in zip(uniform, rectangles, strict=True)
    ]
    wanted = reference.copy_blocks(image, rectangles, places)
    found = rearrange(image[None], torch.from_numpy(origin)[None])[0]
    assert torch.equal(found, wanted)
    assert torch.equal(found[:, ~torch.from_numpy(mask)], image[:, ~torch.from_numpy(mask)])
    assert not torch.equal(found, image)


@pytest.mark.parametrize("width", [1, 8, 13, 224])
def test_pack_mask__round_trip(width: int) -> None:
    masks = np.random.default_rng(0).random((2, 5, width)) < 0.5
    packed = pack_mask(masks)
    assert packed.shape == (2, 5, -(-width // 8))
    found = unpack_mask(torch.from_numpy(packed), width)
    assert found.dtype == torch.bool and (found.numpy() == masks).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blank_and_overwrite__equal_plain_loops(dtype: torch.dtype) -> None:
    """Zeros where masked, the source where one is given, and the clean image everywhere else, exactly."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 9, 7, generator=rng, dtype=dtype)
    masks = torch.rand(4, 9, 7, generator=rng) < 0.5
    sources = torch.randn(2, 3, 9, 7, generator=rng, dtype=dtype)
    wanted = reference.corrupt(images, masks, [sources[0], None, None, sources[1]])
    found = overwrite(blank(images, masks), masks, torch.tensor([0, 3]), sources.clone())
    assert torch.equal(found, wanted)
    every = masks[:, None].expand_as(images)
    assert not blank(images, masks)[every].any()
    assert torch.equal(found[~every], images[~every])


def test_parse_materials__names() -> None:
    assert parse_materials("zeros") == (Material.ZEROS,)
    assert parse_materials("zeros-noise-self-other") == tuple(Material)
    with pytest.raises(ValueError, match=r"'gray'.*choose from zeros, noise, self, other"):
        parse_materials("zeros-gray")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((32, 32, 0.5, 16), r"32 x 32 pixels is too small .* = 9 .*align 8 or less"),
        ((224, 32, 0.5, 9), r"224 x 32 pixels is too small"),
        ((3, 3, 0.5, 1), "too small"),
        ((64, 64, 0.6, 16), r"reach 0\.562 of an image of 64 x 64"),
        ((50, 50, 0.95, 12), r"reach 0\.922 of an image of 50 x 50"),
        ((224, 224, 0.0, 1), "area is 0.0"),
        ((224, 224, 1.0, 1), "area is 1.0"),
        ((224, 224, 0.5, 0), "align is 0"),
        ((224, 224, 0.5, 1, 0.0), "block is 0.0"),
    ],
)
def test_group_mask__refuses(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_blocks(*arguments)
    with pytest.raises(ValueError, match=message):
        group_mask(*arguments[:4], np.random.default_rng(0), *arguments[4:])


@pytest.mark.parametrize(
    ("height", "width", "area", "align"), [(64, 64, 0.56, 16), (32, 32, 0.9, 4), (7, 7, 0.7, 1)]
)
def test_check_blocks__what_it_lets_pass_ends(
    height: int, width: int, area: float, align: int
) -> None:
    """The smallest images and the largest areas that are allowed."""
    for seed in range(20):
        mask = group_mask(height, width, area, align, np.random.default_rng(seed))
        assert mask.mean() >= min(area, 0.5)
