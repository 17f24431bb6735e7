"""Images of other channels than R, G and B: reading, scaling, cropping, augmenting."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from image_files import encoded, pixels

from mmrel.datasets import DecodeImage, ImageFolder, JitterChannels, MultiCrop
from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.datasets.transforms.channel_scale import ChannelScale
from mmrel.datasets.transforms.resample import exact_cutter, pillow_cut
from mmrel.structures import SampleKey
from mmrel.utils import UsageError

KEY = SampleKey(1, 2, 3)


def stack(channels: int = 5, kind: Any = np.uint8, seed: int = 0) -> np.ndarray:
    """Smooth planes ``(C, 30, 40)``, the values of a type spread over its range."""
    planes = np.stack([pixels(seed=seed + i)[..., 0] for i in range(channels)])
    return (planes.astype(np.float64) * (257 if kind == np.uint16 else 1)).astype(kind)


def tiff(values: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def decoded(data: bytes, **options: Any) -> np.ndarray:
    return DecodeImage(**options).transform({"img_path": "x", "img_reader": lambda: data})["img"]


LAYOUTS = {
    "pages": lambda v: tiff(v, photometric="minisblack"),
    "bands": lambda v: tiff(np.moveaxis(v, 0, -1), photometric="minisblack", planarconfig="contig"),
    "planes": lambda v: tiff(v, photometric="minisblack", planarconfig="separate"),
    "rows as pages": lambda v: tiff(np.moveaxis(v, 0, -1)),
    "imagej": lambda v: tiff(v, imagej=True, metadata={"axes": "CYX"}),
    "deflated": lambda v: tiff(v, photometric="minisblack", compression="zlib"),
    "big": lambda v: tiff(v, photometric="minisblack", bigtiff=True),
}


@pytest.mark.parametrize("channels", [2, 4, 5, 12])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_tiff__stacks_of_all_layouts(layout: str, channels: int) -> None:
    values = stack(channels)
    found = decoded(LAYOUTS[layout](values), in_channels=channels)
    assert found.dtype == np.uint8 and np.array_equal(found, np.moveaxis(values, 0, -1))


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.float32, np.float64, np.uint8])
def test_scale__ranges_of_each_channel(kind: Any) -> None:
    values = stack(3, kind)
    ranges = [(0.0, 200.0), (10.0, 20_000.0), (-5.0, 90.0)]
    found = decoded(tiff(values, photometric="minisblack"), in_channels=3, value_range=ranges)
    for channel, (low, high) in enumerate(ranges):
        for value, byte in zip(values[channel].ravel(), found[..., channel].ravel(), strict=True):
            exact = (min(max(float(value), low), high) - low) / (high - low) * 255
            assert abs(exact - byte) <= 0.5 + 1e-3


def test_scale__bits_and_one_range_for_all() -> None:
    values = stack(5, np.uint16) >> 4
    data = tiff(values, photometric="minisblack")
    assert np.array_equal(
        decoded(data, in_channels=5, bit_depth=12), np.moveaxis(values >> 4, 0, -1)
    )
    whole = decoded(data, in_channels=5, value_range=(0, 4095))
    assert np.array_equal(whole, decoded(data, in_channels=5, value_range=[[0, 4095]] * 5))
    for options, message in (
        (dict(bit_depth=10), "does not fit into the 10 bits"),
        ({}, "values are uint16; say what becomes 0 and 255"),
    ):
        with pytest.raises(UnreadableImageError, match=message):
            decoded(data, in_channels=5, **options)


def test_scale__non_finite_values() -> None:
    values = stack(2, np.float32)
    values[0, 0, 0] = np.nan
    with pytest.raises(UnreadableImageError, match="non-finite"):
        decoded(tiff(values, photometric="minisblack"), in_channels=2, value_range=(0, 255))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(in_channels=0), "in_channels is 0; give a number from 1 on"),
        (dict(in_channels=4, value_range=[(0, 1)] * 3), "one such pair for each of the 4 channels"),
        (dict(in_channels=1, value_range=(2, 1)), "low < high"),
        (dict(in_channels=1, bit_depth=9), "bit_depth is 9"),
    ],
)
def test_decode__refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecodeImage(**options)


def test_gray__one_channel() -> None:
    color = pixels()
    gray = decoded(encoded(color, "PNG"), in_channels=1)
    assert gray.shape == (30, 40, 1)
    exact = color @ np.array([0.299, 0.587, 0.114])
    assert np.abs(gray[..., 0] - exact).max() <= 1
    assert np.array_equal(
        decoded(encoded(color[..., 0], "PNG"), in_channels=1)[..., 0], color[..., 0]
    )
    deep = color[..., 0].astype(np.uint16) * 16
    found = decoded(encoded(deep, "PNG"), in_channels=1, bit_depth=12)
    assert np.array_equal(found[..., 0], color[..., 0])
    depth = decoded(tiff(deep.astype(np.float32)), in_channels=1, value_range=(0, 4080))
    assert np.array_equal(depth[..., 0], color[..., 0])


def test_rgba__is_dropped_or_taken() -> None:
    values = np.moveaxis(stack(4), 0, -1)
    data = encoded(values, "PNG")
    assert np.array_equal(decoded(data), values[..., :3])
    assert np.array_equal(decoded(data, in_channels=4), values)
    wide = values.astype(np.uint16) * 257
    deep = cv2.imencode(".png", wide[..., [2, 1, 0, 3]])[1].tobytes()
    assert np.array_equal(decoded(deep, in_channels=4, bit_depth=16), values)
    color = cv2.imencode(".png", wide[..., [2, 1, 0]])[1].tobytes()
    ranges = [[0, 65535]] * 3
    assert np.array_equal(decoded(color, in_channels=3, value_range=ranges), values[..., :3])


@pytest.mark.parametrize(
    ("data", "channels", "message"),
    [
        (encoded(pixels()), 4, r"it has 3 channel\(s\) \(RGB\), and in_channels .* is 4"),
        (
            tiff(stack(5), photometric="minisblack"),
            4,
            r"holds 5 x 30 x 40 values .*wanted 4 x height",
        ),
        (tiff(stack(1)[0]), 2, "holds 30 x 40 values"),
        (tiff(stack(5), photometric="minisblack")[:700], 5, "Error"),
        (b"II*\0" + b"\xff" * 100, 5, "Error"),
    ],
)
def test_decode__other_channels_than_told(data: bytes, channels: int, message: str) -> None:
    with pytest.raises(UnreadableImageError, match=message):
        decoded(data, in_channels=channels)


def test_tiff__too_large() -> None:
    with pytest.raises(UnreadableImageError, match="1200 pixels are more than 1000"):
        decoded(tiff(stack(5), photometric="minisblack"), in_channels=5, max_pixels=1000)


def folder_of(path: Path, kind: Any, count: int = 3) -> str:
    for i in range(count):
        (path / f"{i}.tif").write_bytes(tiff(stack(5, kind, seed=i), photometric="minisblack"))
    return str(path)


def test_folder__asks_for_the_scale_with_what_it_found(tmp_path: Path) -> None:
    root = folder_of(tmp_path, np.uint16)
    values = np.stack([stack(5, np.uint16, seed=i) for i in range(3)])
    pipeline = [dict(type="mmrel.DecodeImage", in_channels=5)]
    low, high = values[:, 0].min(), values[:, 0].max()
    message = rf"type uint16.*value_range=\[\[{low:g}, {high:g}\], .*3 images.*or bit_depth=16"
    with pytest.raises(UsageError, match=message):
        ImageFolder(root, pipeline=pipeline)
    pipeline[0]["in_channels"] = 4
    with pytest.raises(
        UsageError, match=r"none of 3 images .* in_channels=4, such as .*0.tif: the"
    ):
        ImageFolder(root, pipeline=pipeline)


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_crops__every_channel_as_by_itself(mode: str, channels: int) -> None:
    image = np.moveaxis(stack(channels), 0, -1)
    crop = MultiCrop(global_size=16, local_size=8, num_local=3, mode=mode, interpolation="bilinear")
    views = crop.transform({"img": image, "key": KEY})["views"]
    for channel in range(channels):
        gray = np.repeat(image[..., channel : channel + 1], 3, axis=-1)
        alone = crop.transform({"img": gray, "key": KEY})["views"]
        for view, one in zip(views, alone, strict=True):
            assert view.shape == (channels, *one.shape[1:]) and view.flags.c_contiguous
            assert np.array_equal(view[channel], one[0])


def test_crops__pillow_and_the_faster_way_agree() -> None:
    image = np.moveaxis(stack(4), 0, -1)
    cut = exact_cutter(image, "bicubic")
    for box in ((0, 0, 40, 30), (3, 5, 20, 11), (10, 2, 9, 25)):
        assert np.array_equal(cut(box, 12), pillow_cut(image, box, 12, "bicubic"))


def slow_jitter(view: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Pixel by pixel, as the formula has it."""
    result = np.empty_like(view)
    for channel, (brightness, contrast) in enumerate(factors):
        mean = sum(brightness * int(v) for v in view[channel].ravel()) / view[channel].size
        for place, value in np.ndenumerate(view[channel]):
            new = contrast * (brightness * int(value) - mean) + mean
            result[channel][place] = round(min(max(new, 0.0), 255.0))
    return result


def test_jitter__formula_key_and_chance() -> None:
    views = [stack(5)[:, :8, :8], stack(5, seed=9)[:, :6, :6]]
    jitter = JitterChannels(0.5, 0.3, prob=1.0)
    factors = jitter.draw(KEY, 2, 5)
    assert factors[..., 0].min() >= 0.5 and factors[..., 0].max() <= 1.5
    assert factors[..., 1].min() >= 0.7 and factors[..., 1].max() <= 1.3
    assert len(np.unique(factors)) == 20
    found = jitter.transform({"views": views, "key": KEY})["views"]
    for view, rows, new in zip(views, factors, found, strict=True):
        assert np.array_equal(new, slow_jitter(view, rows))
    assert np.array_equal(jitter.draw(KEY, 1, 5)[0], factors[0])
    assert not np.array_equal(jitter.draw(SampleKey(1, 2, 4), 2, 5), factors)
    kept = JitterChannels(0.5, 0.3, prob=0.0).transform({"views": views, "key": KEY})["views"]
    assert all(new is view for new, view in zip(kept, views, strict=True))
    drawn = np.stack([JitterChannels(prob=0.3).draw(SampleKey(0, 0, i), 1, 1) for i in range(500)])
    assert abs((drawn[:, 0, 0, 0] != 1).mean() - 0.3) < 0.06


def test_jitter__refuses() -> None:
    with pytest.raises(ValueError, match="brightness is -1"):
        JitterChannels(brightness=-1)


def test_scale__given_once() -> None:
    assert ChannelScale.of(2, 12, None).suits(np.dtype(np.uint16))
    assert not ChannelScale.of(2, "auto", None).suits(np.dtype(np.float32))


def test_loader__five_channels_to_crops(tmp_path: Path) -> None:
    pipeline = [
        dict(type="mmrel.DecodeImage", in_channels=5, value_range=(0, 65535)),
        dict(type="mmrel.MultiCrop", global_size=16, local_size=8, num_local=2),
        dict(type="mmrel.JitterChannels"),
        dict(
            type="mmrel.DrawColorAugmentation",
            jitter=(0, 0, 0, 0),
            grayscale_prob=0,
            solarize_prob=0,
        ),
        dict(type="mmrel.PackViews"),
    ]
    sample = ImageFolder(folder_of(tmp_path, np.uint16), pipeline=pipeline)[KEY._replace(index=1)]
    assert [tuple(view.shape) for view in sample["inputs"]] == [(5, 16, 16)] * 2 + [(5, 8, 8)] * 2
