"""Values of more than 8 bits: one rule per data set, and none of the information lost."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_files import encoded
from log_lines import log_lines
from PIL import Image

from mmrel.datasets import DecodeImage, ImageFolder
from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.datasets.transforms.load import share_depth
from mmrel.datasets.transforms.pixel_values import PixelDepth


def ramp(bits: int, channels: int = 0) -> np.ndarray:
    """All grey levels of a depth, from 0 to the largest."""
    values = np.linspace(0, 2**bits - 1, 32 * 32).round().astype(np.uint16).reshape(32, 32)
    return np.stack([values, values[::-1], values.T], axis=-1) if channels else values


def png16(values: np.ndarray, color_type: int = 0) -> bytes:
    """A PNG file of 16 bits per value, written by hand: 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, color_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def opencv(form: str, values: np.ndarray) -> bytes:
    ordered = values[..., ::-1] if values.ndim == 3 else values
    return cv2.imencode(form, np.ascontiguousarray(ordered))[1].tobytes()


GRAY_FILES = {
    "png": lambda bits: png16(ramp(bits)),
    "tif": lambda bits: encoded(Image.fromarray(ramp(bits)), "TIFF"),
    "pgm": lambda bits: opencv(".pgm", ramp(bits)),
    "jp2": lambda bits: opencv(".jp2", ramp(bits)),
}
COLOR_FILES = {
    "png": lambda bits: png16(ramp(bits, 3), 2),
    "tif": lambda bits: opencv(".tiff", ramp(bits, 3)),
    "ppm": lambda bits: opencv(".ppm", ramp(bits, 3)),
}


def decode(path: Path, content: bytes, **options: object) -> np.ndarray:
    path.write_bytes(content)
    return DecodeImage(**options)({"img_path": str(path)})["img"]


def folder(root: Path, files: dict[str, bytes]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / name).write_bytes(content)
    return root


def dataset(root: Path, **options: object) -> ImageFolder:
    return ImageFolder(str(root), pipeline=[dict(type="mmrel.DecodeImage", **options)])


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", GRAY_FILES)
def test_gray__all_levels_survive(tmp_path: Path, suffix: str, bits: int) -> None:
    content = GRAY_FILES[suffix](bits)
    expected = ramp(bits) >> (bits - 8)
    for options in ({}, {"bit_depth": bits}):
        image = decode(tmp_path / f"x.{suffix}", content, **options)
        assert (image == expected[..., None]).all() and len(np.unique(image)) == 256


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", COLOR_FILES)
def test_color__all_levels_survive(tmp_path: Path, suffix: str, bits: int) -> None:
    """Pillow reads colours of 16 bits as their high bytes, so that 12-bit content would keep 16 levels."""
    values, content = ramp(bits, 3), COLOR_FILES[suffix](bits)
    for options in ({}, {"bit_depth": bits}):
        image = decode(tmp_path / f"x.{suffix}", content, **options)
        assert (image == values >> (bits - 8)).all()


@pytest.mark.parametrize(("color_type", "planes"), [(4, [0, 0, 0]), (6, [0, 1, 2])])
def test_color__alpha_is_dropped(tmp_path: Path, color_type: int, planes: list[int]) -> None:
    opaque = np.full((32, 32, 1), 65535, np.uint16)
    colors = ramp(12, 3) if color_type == 6 else ramp(12)[..., None]
    content = png16(np.concatenate([colors, opaque], axis=-1), color_type)
    image = decode(tmp_path / "x.png", content, bit_depth=12)
    # OpenCV writes the planes of grey and alpha as it likes; the colours are what counts.
    assert (
        (image == colors[..., planes] >> 4).all() if color_type == 6 else image.shape == (32, 32, 3)
    )


def test_color__upright(tmp_path: Path) -> None:
    values = ramp(12, 3)[:20]
    exif = Image.Exif()
    exif[0x0112] = 6
    blob = exif.tobytes()[6:]
    content = png16(values, 2)
    chunk = (
        struct.pack(">I", len(blob))
        + b"eXIf"
        + blob
        + struct.pack(">I", zlib.crc32(b"eXIf" + blob))
    )
    image = decode(tmp_path / "x.png", content[:33] + chunk + content[33:])
    assert (image == np.rot90(values, -1) >> 4).all()


def test_dataset__one_depth_for_dark_and_bright(tmp_path: Path) -> None:
    """A dark image of a 12-bit data set stays dark: 900 is not taken for the largest of 10 bits."""
    dark, bright = np.full((8, 8), 900, np.uint16), np.full((8, 8), 4000, np.uint16)
    root = folder(tmp_path, {"a.png": png16(dark), "b.png": png16(bright)})
    data = dataset(root)
    assert [data[i]["img"].max() for i in range(2)] == [900 >> 4, 4000 >> 4]
    assert decode(tmp_path / "a.png", png16(dark)).max() == 900 >> 2  # by itself


def test_dataset__float_and_signed_values_have_one_range(tmp_path: Path) -> None:
    images = [np.full((4, 4), v, np.float32) for v in (-1.0, 0.0, 3.0)]
    root = folder(
        tmp_path, {f"{i}.tif": encoded(Image.fromarray(a), "TIFF") for i, a in enumerate(images)}
    )
    assert [dataset(root)[i]["img"].max() for i in range(3)] == [0, 64, 255]
    given = dataset(root, value_range=(0, 6))
    assert [given[i]["img"].max() for i in range(3)] == [0, 0, 128]


def test_unsigned_32_bit__is_not_negative(tmp_path: Path) -> None:
    """Pillow holds such values as signed ones."""
    values = np.array([[0, 2**31], [2**32 - 1, 2**30]], np.uint32)
    header = encoded(Image.fromarray(values.view(np.int32)), "TIFF")
    content = header.replace(struct.pack("<HHII", 339, 3, 1, 2), struct.pack("<HHII", 339, 3, 1, 1))
    assert content != header
    assert decode(tmp_path / "x.tif", content)[..., 0].tolist() == [[0, 128], [255, 64]]


def test_signed_bytes__are_refused(tmp_path: Path) -> None:
    header = encoded(Image.new("L", (4, 4), 200), "TIFF")
    number = header.index(struct.pack("<HHI", 284, 3, 1))  # planar configuration, of no matter here
    content = header[:number] + struct.pack("<HHII", 339, 3, 1, 2) + header[number + 12 :]
    with pytest.raises(UnreadableImageError, match="signed bytes"):
        decode(tmp_path / "x.tif", content)


def test_value_above_the_depth__is_no_image(tmp_path: Path) -> None:
    with pytest.raises(
        UnreadableImageError, match="value 4095 does not fit into the 10 bits .* bit_depth=12"
    ):
        decode(tmp_path / "x.png", png16(ramp(12)), bit_depth=10)


@pytest.mark.parametrize(
    "options", [{"bit_depth": 11}, {"bit_depth": "12"}, {"value_range": (1, 1)}]
)
def test_options__are_checked(options: dict) -> None:
    with pytest.raises(
        ValueError, match=r"bit_depth is .*choose 'auto' or one of 8, 10|value_range is \(1, 1\)"
    ):
        DecodeImage(**options)


def test_dataset__says_what_it_found(tmp_path: Path) -> None:
    root = folder(tmp_path, {"a.png": png16(ramp(12))})
    with log_lines() as lines:
        dataset(root)
        dataset(root, bit_depth=12, value_range=(0, 1))
        dataset(folder(tmp_path / "b", {"x.png": encoded(Image.new("RGB", (4, 4)), "PNG")}))
    assert len(lines) == 1, lines
    line = lines[0]
    assert "a.png" in line and "16-bit values are taken to have 12 significant bits" in line


def test_share_depth__of_two_data_sets(tmp_path: Path) -> None:
    bank = dataset(folder(tmp_path / "a", {"a.png": png16(ramp(12))}))
    val = dataset(folder(tmp_path / "b", {"a.png": png16(ramp(8))}))
    assert val[0]["img"].max() == 255
    share_depth(bank, val)
    assert val[0]["img"].max() == 255 >> 4


def test_depth__constant_images_are_black() -> None:
    assert PixelDepth().to_bytes(np.full((2, 2), 7.0)).max() == 0
