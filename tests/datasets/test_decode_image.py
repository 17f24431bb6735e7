"""Decoding: every kind of file gives 8-bit RGB by the documented rule, or an error with its path."""

import io
from pathlib import Path

import numpy as np
import pytest
from image_files import encoded, pixels
from PIL import Image

from mmrel.datasets import DecodeImage, MultiCrop
from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.datasets.transforms.jpeg_check import check_structure
from mmrel.structures import SampleKey

MODES = ("exact", "fast")


def decode(path: Path, content: bytes, mode: str = "exact", **options: object) -> np.ndarray:
    path.write_bytes(content)
    return DecodeImage(mode=mode, **options)({"img_path": str(path)})["img"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("form", "suffix"), [("PNG", "png"), ("BMP", "bmp"), ("TIFF", "tif")])
def test_decode__lossless_formats(tmp_path: Path, mode: str, form: str, suffix: str) -> None:
    image = decode(tmp_path / f"x.{suffix}", encoded(pixels(), form), mode)
    assert image.dtype == np.uint8 and (image == pixels()).all()


@pytest.mark.parametrize("mode", MODES)
def test_decode__lossless_webp(tmp_path: Path, mode: str) -> None:
    content = encoded(pixels(), "WEBP", lossless=True)
    assert (decode(tmp_path / "x.webp", content, mode) == pixels()).all()


def test_decode__jpeg_alike_in_both_modes(tmp_path: Path) -> None:
    content = encoded(pixels(61, 47), quality=90)
    exact, fast = (decode(tmp_path / "x.jpg", content, mode) for mode in MODES)
    assert exact.shape == fast.shape == (61, 47, 3)
    assert np.abs(exact.astype(int) - fast).max() <= 2
    assert np.abs(exact.astype(int) - pixels(61, 47)).mean() < 4


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("progressive", [False, True])
def test_decode__plain_jpeg_has_the_pixels_that_one_with_exif_has(
    tmp_path: Path, grey: bool, progressive: bool
) -> None:
    """Without EXIF the markers say enough and Pillow does not read the header; with it, Pillow does."""
    picture = Image.fromarray(pixels(61, 47)).convert("L" if grey else "RGB")
    exif = Image.Exif()
    exif[0x0112] = 1
    contents = [
        encoded(picture, quality=90, progressive=progressive, **options)
        for options in ({}, {"exif": exif})
    ]
    plain, other = map(check_structure, contents)
    assert plain is not None and other is not None
    assert plain.plain and not other.plain and plain.size == other.size == (47, 61)
    wanted = np.asarray(Image.open(io.BytesIO(contents[0])).convert("RGB"))
    for content in contents:
        assert (decode(tmp_path / "x.jpg", content) == wanted).all()


def test_decode__plain_jpeg_too_large(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="is more than 100 pixels"):
        decode(tmp_path / "x.jpg", encoded(pixels()), max_pixels=100)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pil_mode", ["L", "1", "P", "CMYK", "RGBA", "LA"])
def test_decode__other_modes_as_pillow_converts(tmp_path: Path, mode: str, pil_mode: str) -> None:
    source = Image.fromarray(pixels()).convert(pil_mode)
    image = decode(tmp_path / "x.tif", encoded(source, "TIFF"), mode)
    assert (image == np.asarray(source.convert("RGB"))).all()


@pytest.mark.parametrize("mode", MODES)
def test_decode__cmyk_jpeg(tmp_path: Path, mode: str) -> None:
    content = encoded(Image.fromarray(pixels()).convert("CMYK"), quality=95)
    image = decode(tmp_path / "x.jpg", content, mode)
    assert np.abs(image.astype(int) - pixels()).mean() < 6


@pytest.mark.parametrize("mode", MODES)
def test_decode__grey_jpeg(tmp_path: Path, mode: str) -> None:
    image = decode(tmp_path / "x.jpg", encoded(pixels()[..., 0]), mode)
    assert image.shape == (30, 40, 3)
    assert (image[..., 0] == image[..., 2]).all()


@pytest.mark.parametrize("mode", MODES)
def test_decode__16_bit_keeps_high_byte(tmp_path: Path, mode: str) -> None:
    values = np.array([[0, 255, 256], [0x1234, 0xFF00, 0xFFFF]], dtype=np.uint16)
    image = decode(tmp_path / "x.png", encoded(Image.fromarray(values), "PNG"), mode)
    assert image[..., 0].tolist() == [[0, 0, 1], [0x12, 0xFF, 0xFF]]


def test_decode__float_is_stretched(tmp_path: Path) -> None:
    values = np.array([[-1.0, 0.0], [0.5, 1.0]], dtype=np.float32)
    image = decode(tmp_path / "x.tif", encoded(Image.fromarray(values), "TIFF"))
    assert image[..., 1].tolist() == [[0, 128], [191, 255]]


def test_decode__constant_float_is_black(tmp_path: Path) -> None:
    values = np.full((2, 2), 7.0, dtype=np.float32)
    assert decode(tmp_path / "x.tif", encoded(Image.fromarray(values), "TIFF")).max() == 0


@pytest.mark.parametrize("mode", MODES)
def test_decode__palette_with_transparency(tmp_path: Path, mode: str) -> None:
    source = Image.fromarray(pixels()).quantize(8)
    content = encoded(source, "PNG", transparency=bytes([0, 128, 255]))
    image = decode(tmp_path / "x.png", content, mode)
    assert (image == np.asarray(source.convert("RGB"))).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF"])
def test_decode__first_picture_of_several(tmp_path: Path, mode: str, form: str) -> None:
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "blue", "lime")]
    content = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    image = decode(tmp_path / "x", content, mode)
    assert np.abs(image[3, 4].astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("side", "min_side"), [(32, 480), (128, 60)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode__exif_orientation(
    tmp_path: Path, mode: str, side: int, min_side: int, orientation: int
) -> None:
    """Upright, in both modes; also if the fast mode decodes at half the size."""
    upright = np.zeros((side, 2 * side, 3), dtype=np.uint8)
    upright[: side // 2, :side] = 255
    undo = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(np.ascontiguousarray(undo[orientation]), exif=exif, quality=95)
    image = decode(tmp_path / "x.jpg", content, mode, min_side=min_side)
    reduction = 2 if mode == "fast" and min_side == 60 else 1
    assert image.shape[:2] == (side // reduction, 2 * side // reduction)
    corners = image[[2, 2, -3, -3], [2, -3, 2, -3]].mean(axis=-1) > 127
    assert corners.tolist() == [True, False, False, False]


@pytest.mark.parametrize(("shortest", "reduction"), [(479, 1), (960, 2), (1920, 4), (3900, 8)])
def test_decode__fast_mode_reduces_large_jpegs(
    tmp_path: Path, shortest: int, reduction: int
) -> None:
    content = encoded(Image.new("L", (shortest, shortest + 16)))
    image = decode(tmp_path / "x.jpg", content, "fast")
    assert min(image.shape[:2]) == -(-shortest // reduction)
    assert min(decode(tmp_path / "x.jpg", content, "exact").shape[:2]) == shortest


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1)])
def test_decode__extreme_shapes(tmp_path: Path, mode: str, shape: tuple[int, int]) -> None:
    image = decode(tmp_path / "x.jpg", encoded(Image.new("RGB", shape[::-1])), mode)
    assert image.shape == (*shape, 3)


BAD = {
    "empty": (b"", "empty"),
    "html": (b"<html>not found</html>", "cannot identify"),
    "truncated_jpeg": (encoded(pixels(80, 80))[:-300], "truncated"),
    "jpeg_without_end": (encoded(pixels(80, 80))[:-2], "truncated"),
    "truncated_png": (encoded(pixels(80, 80), "PNG")[:-3000], "truncated"),
    "header_only": (encoded(pixels())[:200], None),
    "text_format": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot identify"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", BAD)
def test_decode__bad_files_raise_with_path(tmp_path: Path, mode: str, kind: str) -> None:
    content, reason = BAD[kind]
    with pytest.raises(UnreadableImageError) as caught:
        decode(tmp_path / "x.jpg", content, mode)
    assert caught.value.path == str(tmp_path / "x.jpg")
    assert reason is None or reason in caught.value.reason


@pytest.mark.parametrize("mode", MODES)
def test_decode__refuses_bombs_before_decoding(tmp_path: Path, mode: str) -> None:
    content = encoded(Image.new("1", (4000, 4000)), "PNG")
    with pytest.raises(UnreadableImageError, match="4000 x 4000 is more than 1000000 pixels"):
        decode(tmp_path / "x.png", content, mode, max_pixels=1_000_000)


def test_decode__missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"gone\.jpg"):
        DecodeImage()({"img_path": str(tmp_path / "gone.jpg")})


@pytest.mark.parametrize("mode", MODES)
def test_decode__damaged_bytes_raise_nothing_else(tmp_path: Path, mode: str) -> None:
    rng = np.random.default_rng(0)
    sources = [encoded(pixels(), form) for form in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")]
    for trial in range(120):
        content = bytearray(sources[trial % len(sources)])
        for position in rng.integers(0, len(content), 6):
            content[position] = rng.integers(0, 256)
        try:
            image = decode(tmp_path / "x", bytes(content), mode, max_pixels=10**6)
        except UnreadableImageError:
            continue
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


def test_decode__unknown_mode() -> None:
    with pytest.raises(ValueError, match="mode is 'quick'; choose 'exact'"):
        DecodeImage(mode="quick")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP", "GIF"])
@pytest.mark.filterwarnings("error")
def test_decode__max_pixels_counts_and_not_pillow_s_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, form: str
) -> None:
    """Neither Pillow's error, at twice its limit, nor its warning; and the limit stays for other code."""
    content = encoded(pixels(40, 60), form)
    for limit in (1000, 2000):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        image = decode(tmp_path / "x", content, mode, max_pixels=2400)
        key = SampleKey(0, 0, 0)
        crops = MultiCrop(8, (1.0, 1.0), num_local=0, mode=mode)({"img": image, "key": key})
        assert image.shape == (40, 60, 3) and len(crops["views"]) == 2
        assert limit == Image.MAX_IMAGE_PIXELS
        with pytest.raises(UnreadableImageError, match="2400 is|60 x 40 is more than 2399 pixels"):
            decode(tmp_path / "x", content, mode, max_pixels=2399)


@pytest.mark.parametrize("bands", [5, 7])
def test_decode__many_bands_are_named(tmp_path: Path, bands: int) -> None:
    """Satellite images: the reason tells that it is a TIFF file of a form that cannot be read."""
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(
        tmp_path / "x.tif",
        np.zeros((8, 8, bands), np.uint8),
        photometric="minisblack",
        planarconfig="contig",
    )
    with pytest.raises(UnreadableImageError, match=r"x\.tif: .*as TIFF: .*"):
        DecodeImage()({"img_path": str(tmp_path / "x.tif")})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("pil_mode", ["LA", "RGBA", "P", "1"])
def test_decode__one_pixel_of_every_kind(
    tmp_path: Path, mode: str, form: str, pil_mode: str
) -> None:
    source = Image.new("RGB", (1, 1), "white").convert(pil_mode)
    options = {"lossless": True} if form == "WEBP" else {}
    source = source.convert("RGBA") if form == "WEBP" else source
    assert decode(tmp_path / "x", encoded(source, form, **options), mode).tolist() == [[[255] * 3]]
