"""Exact crops: bit for bit what the installed Pillow makes of ``crop(box).resize(size)``."""

import numpy as np
import pytest
import torch
from log_lines import log_lines
from PIL import Image

from mmrel.datasets import MultiCrop
from mmrel.datasets.transforms import resample
from mmrel.datasets.transforms.resample import (
    INTERPOLATIONS,
    MAX_TAPS,
    Resampler,
    exact_cutter,
    horizontal_first,
    pass_order,
    taps,
)
from mmrel.structures import SampleKey

INTERPOLATION = pytest.mark.parametrize("interpolation", sorted(INTERPOLATIONS))
SIZES = (16, 32, 96, 224)


def by_pillow(image: np.ndarray, box: tuple, size: int, interpolation: str) -> np.ndarray:
    x, y, w, h = box
    crop = Image.fromarray(image).crop((x, y, x + w, y + h))
    return np.asarray(crop.resize((size, size), INTERPOLATIONS[interpolation]))


def random_image(rng: np.random.Generator, longest: int) -> np.ndarray:
    """Noise, half of the time of black and white alone, where the cubic overshoots most."""
    height, width = rng.integers(1, longest, 2)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.where(image > 127, 255, 0).astype(np.uint8) if rng.random() < 0.5 else image


def random_box_of(rng: np.random.Generator, image: np.ndarray) -> tuple[int, int, int, int]:
    height, width = image.shape[:2]
    w, h = int(rng.integers(1, width + 1)), int(rng.integers(1, height + 1))
    return int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1)), w, h


def check_random_crops(count: int, longest: int, interpolation: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        image, size = random_image(rng, longest), int(rng.choice(SIZES))
        cut = exact_cutter(image, interpolation)
        for _ in range(3):
            box = random_box_of(rng, image)
            wanted = by_pillow(image, box, size, interpolation)
            assert np.array_equal(cut(box, size), wanted), (image.shape, box, size)


@INTERPOLATION
def test_exact__random_crops_equal_pillow(interpolation: str) -> None:
    assert pass_order(interpolation) is not None, "this Pillow is not known: nothing is compared"
    check_random_crops(80, 420, interpolation, seed=0)


@pytest.mark.slow
@INTERPOLATION
def test_exact__many_random_crops_equal_pillow(interpolation: str) -> None:
    check_random_crops(600, 900, interpolation, seed=1)


@INTERPOLATION
@pytest.mark.parametrize("first", ["rows", "columns"])
def test_either_order__equals_pillow_axis_by_axis(interpolation: str, first: str) -> None:
    """Whatever order this Pillow prefers: each axis resized by a call of its own."""
    method, rng = INTERPOLATIONS[interpolation], np.random.default_rng(2)
    for _ in range(30):
        image, size = random_image(rng, 200), int(rng.choice(SIZES))
        height, width = image.shape[:2]
        between = (width, size) if first == "rows" else (size, height)
        halfway = Image.fromarray(image).resize(between, method)
        cut = Resampler(image, interpolation, lambda *_: first == "rows").cut
        got = cut((0, 0, width, height), size)
        assert np.array_equal(got, np.asarray(halfway.resize((size, size), method)))


@INTERPOLATION
def test_exact__extreme_reductions_are_left_to_pillow(interpolation: str) -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (40, 1500, 3), dtype=np.uint8)
    assert taps(1500, 16, interpolation).widest > MAX_TAPS
    box = (0, 0, 1500, 40)
    wanted = by_pillow(image, box, 16, interpolation)
    assert np.array_equal(exact_cutter(image, interpolation)(box, 16), wanted)


@INTERPOLATION
@pytest.mark.parametrize("limit", [1000, 6000])
def test_exact__large_images(
    interpolation: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit crops are cut one by one, and large ones by Pillow."""
    monkeypatch.setattr(resample, "MAX_PIXELS", limit)
    rng = np.random.default_rng(4)
    image = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    cut = exact_cutter(image, interpolation)
    for box in ((0, 0, 120, 90), (7, 5, 30, 33), (60, 10, 60, 80)):
        assert np.array_equal(cut(box, 32), by_pillow(image, box, 32, interpolation))


@INTERPOLATION
def test_taps__sums_stay_exact_in_float32(interpolation: str) -> None:
    """Each partial sum of a whole number of units, whatever the bytes are, is below 2**24."""
    for size in (16, 96, 224):
        for length in (1, size // 2, size, 3 * size, int(15.5 * size)):
            found = taps(length, size, interpolation)
            high, low = (part.abs().double() for part in found.weights.chunk(2))
            starts = found.starts[:size].long().tolist()
            spans = zip(starts, [*starts[1:], len(high)], strict=True)
            for first, last in spans:
                assert last - first <= MAX_TAPS
                assert high[first:last].sum() * 255 < 2**24
                assert low[first:last].sum() * 2**resample.LOW_BITS * 255 < 2**24


def test_exact__takes_read_only_images() -> None:
    image = np.random.default_rng(5).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    image.flags.writeable = False
    got = exact_cutter(image, "bicubic")((3, 4, 40, 41), 16)
    assert np.array_equal(got, by_pillow(image, (3, 4, 40, 41), 16, "bicubic"))


def test_unknown_pillow__resizes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another resize than the known ones: its pixels count, and the log says what that costs."""
    real = Image.Image.resize
    darker = Image.fromarray(np.zeros((32, 32, 3), np.uint8))

    def other(self: Image.Image, size: tuple[int, int], *arguments: object) -> Image.Image:
        return Image.blend(real(self, size, *arguments), real(darker, size), 0.1)

    monkeypatch.setattr(Image.Image, "resize", other)
    pass_order.cache_clear()
    try:
        with log_lines() as lines:
            image = np.full((40, 40, 3), 200, np.uint8)
            views = MultiCrop(32, num_local=0)({"img": image, "key": SampleKey(0, 0, 0)})["views"]
        assert all((view == 180).all() for view in views)
        assert len(lines) == 1 and "resizes in a way that mmrel does not know" in lines[0]
    finally:
        pass_order.cache_clear()


@pytest.mark.skipif(
    pass_order("bicubic") is horizontal_first, reason="this Pillow has but one order"
)
def test_pass_order__a_wrong_order_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "ORDERS", (horizontal_first,))
    pass_order.cache_clear()
    try:
        assert pass_order("bicubic") is None
    finally:
        pass_order.cache_clear()


def test_exact__threads_do_not_matter() -> None:
    image = np.random.default_rng(6).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(exact_cutter(image, "bicubic")((1, 2, 390, 290), 96))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*results)
