"""Cutting and putting together (RelViT, arXiv 2206.00481), and one patch at a time with torchvision."""

from collections import Counter

import numpy as np
import pytest
import torch
from reference import relvit as reference

from mmrel.ops.patches import (
    cut_windows,
    draw_cuts,
    mega_patches,
    merge_patches,
    patch_window,
    permute_patches,
    split_patches,
)


@pytest.mark.parametrize(("size", "height", "width"), [(4, 16, 16), (8, 16, 32), (1, 3, 5)])
def test_split_and_merge__round_trip(size: int, height: int, width: int) -> None:
    images = torch.randn(3, 3, height, width)
    patches = split_patches(images, size)
    assert patches.shape == (3, height * width // size**2, 3, size, size)
    for image, parts in zip(images, patches, strict=True):
        for part, expected in zip(parts, reference.split(image, size), strict=True):
            assert torch.equal(part, expected)
    assert torch.equal(merge_patches(patches, height // size), images)


def test_permute__slot_i_shows_patch_order_i() -> None:
    images, order = torch.randn(2, 3, 4, 4), torch.tensor([[2, 0, 3, 1], [0, 1, 3, 2]])
    shown = permute_patches(images, order, 2)
    for image, slots, result in zip(images, order.tolist(), shown, strict=True):
        patches = reference.split(image, 2)
        assert torch.equal(result, reference.merge([patches[i] for i in slots], 2))


@pytest.mark.parametrize(
    ("size", "side", "choices"), [(2, 2, 1), (4, 3, 2), (8, 7, 2), (16, 14, 3), (32, 28, 5)]
)
def test_window__sides(size: int, side: int, choices: int) -> None:
    assert patch_window(size, "random") == (side, 0, choices)
    assert patch_window(size, "none") == (size, 0, 1)


def test_window__center_takes_85_percent_of_the_central_square() -> None:
    assert patch_window(32, "center") == (26, 2, 3)  # of the 28 pixels in the middle
    with pytest.raises(ValueError, match="'random', 'center', 'none'"):
        patch_window(32, "middle")


@pytest.mark.parametrize("size", [2, 4, 8, 32])
def test_windows__equal_torchvision_crop_and_resize(size: int) -> None:
    rows, cols = 2, 3
    images = torch.randn(2, 3, rows * size, cols * size, dtype=torch.float64)
    window = patch_window(size, "random")
    offsets = torch.randint(0, window.choices, (2, rows * cols, 2))
    result = cut_windows(images, offsets, size, window.side).unflatten(0, (2, -1))
    for image, positions, patches in zip(images, offsets, result, strict=True):
        for patch, (top, left), cut in zip(
            reference.split(image, size), positions, patches, strict=True
        ):
            inner = patch[:, top : top + window.side, left : left + window.side]
            torch.testing.assert_close(cut, reference.resize(inner, size), rtol=0, atol=1e-10)


def test_windows__constant_colours_stay() -> None:
    """Without jitter the augmentation of a constant image is the identity."""
    images = torch.rand(2, 3, 1, 1).expand(-1, -1, 64, 64)
    offsets = torch.randint(0, 2, (2, 64, 2))
    patches = cut_windows(images, offsets, 8, 7).unflatten(0, (2, -1))
    torch.testing.assert_close(merge_patches(patches, 8), images.contiguous())


def test_windows__offsets_of_another_grid() -> None:
    with pytest.raises(ValueError, match=r"9 offsets .* 2 x 2 patches"):
        cut_windows(torch.zeros(1, 3, 8, 8), torch.zeros(1, 9, 2, dtype=torch.long), 4, 3)


@pytest.mark.parametrize(("count", "partitions"), [(5, 15), (6, 6), (7, 1)])
def test_cuts__all_partitions_equally_likely(count: int, partitions: int) -> None:
    rng, draws = np.random.default_rng(0), 3000
    seen = Counter(tuple(np.diff(draw_cuts(count, 7, rng))) for _ in range(draws))
    assert len(seen) == partitions
    assert all(min(widths) >= 1 and sum(widths) == 7 for widths in seen)
    error = 4 * (draws / partitions) ** 0.5
    assert all(abs(number - draws / partitions) <= error for number in seen.values())


@pytest.mark.parametrize("count", [1, 8])
def test_cuts__number_out_of_range(count: int) -> None:
    with pytest.raises(ValueError, match=rf"{count} mega-patches .* 7 patches per side.*2 to 7"):
        draw_cuts(count, 7, np.random.default_rng(0))


def test_mega_patches__cuts_and_sizes() -> None:
    """S = 7, m = 5, cuts {2, 3, 5, 6}: widths 64, 32, 64, 32, 32 pixels; 25 patches of 32."""
    cuts = torch.tensor([0, 2, 3, 5, 6, 7]) * 32
    assert cuts.diff().tolist() == [64, 32, 64, 32, 32]
    images = torch.randn(1, 3, 224, 224)
    result = mega_patches(images, cuts.expand(1, 2, -1), 32)
    assert result.shape == (1, 3, 160, 160)
    expected = reference.mega_patches(images[0], cuts.tolist(), cuts.tolist(), 32)
    torch.testing.assert_close(result[0], expected, rtol=0, atol=1e-5)
    whole = torch.arange(8).expand(1, 2, -1) * 32
    assert torch.equal(mega_patches(images, whole, 32), images)


def test_mega_patches__rows_and_columns_of_every_image_by_themselves() -> None:
    rng, images = np.random.default_rng(1), torch.randn(3, 2, 20, 20, dtype=torch.float64)
    cuts = (
        torch.from_numpy(np.stack([[draw_cuts(3, 5, rng) for _ in range(2)] for _ in images])) * 4
    )
    assert len({tuple(c.flatten().tolist()) for c in cuts}) == 3
    result = mega_patches(images, cuts, 4)
    for image, (rows, cols), part in zip(images, cuts.tolist(), result, strict=True):
        expected = reference.mega_patches(image, rows, cols, 4)
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-6)
