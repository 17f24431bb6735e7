"""Crops: torchvision's boxes, Pillow's pixels, keyed randomness."""

import numpy as np
import pytest
import torch
from image_files import pixels
from PIL import Image
from torchvision.transforms import RandomResizedCrop

from mmrel.datasets import MultiCrop
from mmrel.datasets.transforms.multi_crop import DRAWS_PER_VIEW, central_box, random_box
from mmrel.structures import SampleKey

RATIO = (3 / 4, 4 / 3)
KEY = SampleKey(3, 5, 11)


def crop(image: np.ndarray, key: SampleKey = KEY, **options: object) -> dict:
    settings = dict(global_size=32, local_size=16, num_local=4) | options
    return MultiCrop(**settings)({"img": image, "key": key})


def test_exact__equals_pillow_crop_then_resize() -> None:
    image = pixels(90, 120)
    result = crop(image)
    for view, (x, y, w, h, _flip) in zip(result["views"], result["geometry"], strict=True):
        box = (int(x), int(y), int(x + w), int(y + h))
        size = view.shape[1:]
        expected = Image.fromarray(image).crop(box).resize(size, Image.Resampling.BICUBIC)
        assert view.flags["C_CONTIGUOUS"] and view.dtype == np.uint8
        assert (view.transpose(1, 2, 0) == np.asarray(expected)).all()


def test_fast__same_boxes_and_nearly_the_same_pixels() -> None:
    image = pixels(150, 200)
    exact, fast = (crop(image, mode=mode) for mode in ("exact", "fast"))
    assert (exact["geometry"] == fast["geometry"]).all()
    for a, b in zip(exact["views"], fast["views"], strict=True):
        assert a.shape == b.shape and b.flags["C_CONTIGUOUS"]
        difference = np.abs(a.astype(int) - b)
        assert difference.mean() < 1


def test_fast__strong_reductions_are_antialiased_bicubic() -> None:
    image = pixels(300, 400)
    exact, fast = (crop(image, mode=mode, global_scale=(0.9, 1.0)) for mode in ("exact", "fast"))
    for a, b in zip(exact["views"][:2], fast["views"][:2], strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of 8-bit images in dB; 99 for equal ones."""
    error = ((a.astype(float) - b) ** 2).mean()
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def test_fast__differs_from_exact_by_no_more_than_documented() -> None:
    """On a picture with fine texture: 35 dB where it is bilinear, 68 dB where it is antialiased."""
    noise = np.random.default_rng(0).normal(0, 10, (375, 500, 3))
    image = np.clip(pixels(375, 500) + noise, 0, 255).astype(np.uint8)
    sizes = dict(global_size=224, local_size=96, num_local=10)
    found: dict[bool, list[float]] = {False: [], True: []}
    for index in range(3):
        key = SampleKey(0, 0, index)
        exact, fast = (crop(image, key, mode=mode, **sizes) for mode in ("exact", "fast"))
        sides = exact["geometry"][:, 2:4].max(axis=1)
        for a, b, side in zip(exact["views"], fast["views"], sides, strict=True):
            found[side >= 2 * a.shape[-1]].append(psnr(a, b))
    assert min(map(len, found.values())) > 5
    assert min(found[False]) > 35 and min(found[True]) > 68


def test_fast__is_a_function_of_the_image_and_the_key_alone() -> None:
    image = pixels(150, 200)
    first, again = (crop(image, mode="fast")["views"] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_fast__takes_read_only_images() -> None:
    image = pixels(40, 40)
    image.flags.writeable = False
    assert len(crop(image, mode="fast")["views"]) == 6


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_fast__takes_images_with_gaps_and_any_channels(channels: int) -> None:
    wide = np.random.default_rng(0).integers(0, 256, (90, 120, channels + 1), dtype=np.uint8)
    gaps = wide[::-1, :, 1:]
    views = [crop(image, mode="fast")["views"] for image in (gaps, np.ascontiguousarray(gaps))]
    assert views[0][0].shape == (channels, 32, 32)
    assert all(np.array_equal(a, b) for a, b in zip(*views, strict=True))


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 5)])
def test_crops__of_extreme_images(mode: str, shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 77, dtype=np.uint8)
    result = crop(image, mode=mode)
    assert [view.shape for view in result["views"]] == [(3, 32, 32)] * 2 + [(3, 16, 16)] * 4
    assert all((view == 77).all() for view in result["views"])
    x, y, w, h = result["geometry"][:, :4].T
    assert (w >= 1).all() and (h >= 1).all()
    assert (x + w <= shape[1]).all() and (y + h <= shape[0]).all()


@pytest.mark.parametrize("size", [(10, 1000), (1000, 10), (30, 30), (30, 50)])
def test_central_box__equals_torchvision_fallback(size: tuple[int, int]) -> None:
    """An area of 100 times the image never fits, so torchvision falls back."""
    image = torch.zeros(3, *size)
    y, x, h, w = RandomResizedCrop.get_params(image, [100.0, 100.0], list(RATIO))
    assert central_box(*size, RATIO) == (x, y, w, h)
    assert random_box([0.5] * DRAWS_PER_VIEW, *size, (100.0, 100.0), RATIO) == (x, y, w, h)


def test_random_box__follows_torchvision_distribution() -> None:
    """Means, spreads and extremes of position and size over many draws."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    height, width, scale = 60, 100, (0.2, 0.9)
    image = torch.zeros(1, height, width)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, list(scale), list(RATIO)) for _ in range(4000)]
    )[:, [1, 0, 3, 2]]
    ours = np.array(
        [random_box(rng.random(DRAWS_PER_VIEW), height, width, scale, RATIO) for _ in range(4000)]
    )
    assert np.abs(ours.mean(axis=0) - theirs.mean(axis=0)).max() < 1.2
    assert np.abs(ours.std(axis=0) - theirs.std(axis=0)).max() < 1.2
    assert (ours.min(axis=0) >= 0).all()
    assert (ours[:, 0] + ours[:, 2]).max() == width and (ours[:, 1] + ours[:, 3]).max() == height
    assert ours[:, 0].min() == ours[:, 1].min() == 0


def test_geometry__global_first_and_within_scale() -> None:
    result = crop(pixels(300, 400), global_scale=(0.5, 1.0), local_scale=(0.05, 0.2))
    area = result["geometry"][:, 2] * result["geometry"][:, 3] / (300 * 400)
    assert result["geometry"].dtype == np.float32 and result["geometry"].shape == (6, 5)
    assert result["num_global"] == 2
    assert (area[:2] > 0.49).all() and (area[2:] < 0.21).all() and (area[2:] > 0.049).all()


def test_flips__are_recorded_not_applied() -> None:
    image = pixels(50, 50)
    flipped, plain = (crop(image, flip_prob=p) for p in (1.0, 0.0))
    assert (flipped["geometry"][:, 4] == 1).all() and (plain["geometry"][:, 4] == 0).all()
    for a, b in zip(flipped["views"], plain["views"], strict=True):
        assert (a == b).all()


def test_flips__chance() -> None:
    transform = MultiCrop(num_local=2)
    flips = [transform.draw(SampleKey(0, 0, i), 50, 50)[:, 4] for i in range(500)]
    assert abs(np.mean(flips) - 0.5) < 0.05


def test_draw__depends_on_seed_epoch_and_index_alone() -> None:
    transform = MultiCrop()
    first = transform.draw(KEY, 100, 100)
    assert (first == transform.draw(KEY, 100, 100)).all()
    for other in (SampleKey(4, 5, 11), SampleKey(3, 6, 11), SampleKey(3, 5, 12)):
        assert (first[:, :4] != transform.draw(other, 100, 100)[:, :4]).any(axis=1).all()


def test_draw__more_views_leave_the_first_ones_alone() -> None:
    few, many = (MultiCrop(num_local=n).draw(KEY, 100, 130) for n in (3, 9))
    assert (few == many[:5]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(mode="quick"), "choose 'exact'"),
        (dict(global_scale=(0.0, 1.0)), r"scale \(0.0, 1.0\)"),
        (dict(local_scale=(0.5, 0.4)), r"scale \(0.5, 0.4\)"),
        (dict(global_size=0), "size 0"),
        (dict(num_local=-1), "number -1"),
        (dict(num_global=0), "num_global is 0"),
        (dict(flip_prob=1.5), "flip_prob is 1.5"),
    ],
)
def test_multi_crop__refuses(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiCrop(**options)
