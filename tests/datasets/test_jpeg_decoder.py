"""Decoders of JPEG files: used where their pixels equal Pillow's, present or not, for whole and damaged files."""

import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import PIL
import pytest
from image_files import encoded, pixels
from log_lines import log_lines
from PIL import Image, ImageOps

from mmrel.datasets import DecodeImage
from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.datasets.transforms import jpeg_decoder as module
from mmrel.datasets.transforms import load
from mmrel.datasets.transforms.jpeg_decoder import (
    JpegDecoder,
    announce_decoder,
    equals_pillow,
    jpeg_decoder,
)

END = b"\xff\xd9"
NAMES = ("Pillow", "OpenCV", "simplejpeg")


@pytest.fixture(params=NAMES)
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> JpegDecoder | None:
    """What ``DecodeImage`` uses in this test."""
    known: dict[str, JpegDecoder | None] = {found.name: found for found in module._installed()}
    known["Pillow"] = None
    if request.param not in known:
        pytest.skip("simplejpeg is not installed: pip install 'mmrel[fast]'")
    chosen = known[request.param]
    monkeypatch.setattr(load, "jpeg_decoder", lambda: chosen)
    return chosen


@pytest.fixture
def fresh_choice() -> Iterator[None]:
    """The choice is made anew in this test, and after it."""
    for function in (jpeg_decoder, announce_decoder):
        function.cache_clear()
    yield
    for function in (jpeg_decoder, announce_decoder):
        function.cache_clear()


def photo(height: int = 120, width: int = 150, seed: int = 0) -> np.ndarray:
    """With texture, so that every block has data."""
    noise = np.random.default_rng(seed).normal(0, 12, (height, width, 3))
    return np.clip(pixels(height, width, seed) + noise, 0, 255).astype(np.uint8)


def decode(path: Path, content: bytes, mode: str = "exact", **options: object) -> np.ndarray:
    path.write_bytes(content)
    return DecodeImage(mode=mode, **options)({"img_path": str(path)})["img"]


def by_pillow(content: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))


def files(count: int, seed: int) -> Iterator[bytes]:
    """Files of many sizes and kinds: subsampling, quality, progressive, restart markers, grey, CMYK, RGB, turned."""
    rng = np.random.default_rng(seed)
    for trial in range(count):
        height, width = (int(side) for side in rng.integers(1, 150, 2))
        noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        picture = Image.fromarray(noise if trial % 2 else photo(height, width, trial))
        mode = ("RGB", "RGB", "RGB", "L", "CMYK")[trial % 5]
        exif = Image.Exif()
        exif[0x0112] = int(rng.integers(1, 9)) if trial % 3 == 0 else 1
        options: dict[str, object] = dict(quality=int(rng.integers(20, 97)), exif=exif)
        if mode == "RGB":
            kept = {"keep_rgb": True} if trial % 7 == 0 else {"subsampling": int(rng.integers(3))}
            options |= kept
        options |= {"progressive": True} if rng.random() < 0.4 else {}
        options |= {"restart_marker_blocks": int(rng.integers(1, 9))} if rng.random() < 0.3 else {}
        yield encoded(picture.convert(mode), **options)
    for factor in (0x111111, 0x211111, 0x221111, 0x121111, 0x411111):
        kind = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
        yield cv2.imencode(".jpg", photo(45, 61), kind)[1].tobytes()


def test_exact__equals_pillow_with_every_decoder(
    tmp_path: Path, decoder: JpegDecoder | None
) -> None:
    for number, content in enumerate(files(60, seed=0)):
        got = decode(tmp_path / "x.jpg", content)
        assert np.array_equal(got, by_pillow(content)), number
        assert got.flags.c_contiguous


def test_fast__at_full_size_equals_exact(tmp_path: Path, decoder: JpegDecoder | None) -> None:
    for content in (encoded(photo(), quality=90), encoded(photo()[..., 0]), *files(12, seed=1)):
        exact, fast = (decode(tmp_path / "x.jpg", content, mode) for mode in ("exact", "fast"))
        assert np.array_equal(exact, fast)


def test_fast__reduced_sizes_are_the_same_with_every_decoder(
    tmp_path: Path, decoder: JpegDecoder | None
) -> None:
    content = encoded(photo(128, 160), quality=90)
    image = decode(tmp_path / "x.jpg", content, "fast", min_side=60)
    wanted = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_COLOR_2)
    assert np.array_equal(image, wanted[..., ::-1])


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 4}, {"progressive": True}])
def test_damage__is_noticed_with_every_decoder(
    tmp_path: Path, decoder: JpegDecoder | None, mode: str, options: dict
) -> None:
    content = encoded(photo(), quality=90, **options)
    start = content.index(b"\xff\xda") + 14
    # Documented as not noticed: a cut within the last scan of a progressive file.
    for share in (0.3,) if "progressive" in options else (0.3, 0.6, 0.95):
        end = start + int(share * (len(content) - start))
        for cut in (content[:end], content[:end] + END, content[:end] + bytes(800) + END):
            with pytest.raises(UnreadableImageError, match=r"cut|damaged|truncated"):
                decode(tmp_path / "x.jpg", cut, mode)
    for header in (b"", b"\xff\xd8", content[:120], b"<html>" + content):
        with pytest.raises(UnreadableImageError):
            decode(tmp_path / "x.jpg", header, mode)


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_bombs__are_refused_before_any_decoder_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    def explode(data: bytes) -> np.ndarray:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(load, "jpeg_decoder", lambda: JpegDecoder("explosive", explode))
    content = encoded(Image.new("L", (3000, 2000)))
    with pytest.raises(UnreadableImageError, match="3000 x 2000 is more than 1000000 pixels"):
        decode(tmp_path / "x.jpg", content, mode, max_pixels=10**6)


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_what_a_decoder_refuses__is_judged_by_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    def refuse(data: bytes) -> np.ndarray:
        raise ValueError("no")

    monkeypatch.setattr(load, "jpeg_decoder", lambda: JpegDecoder("choosy", refuse))
    content = encoded(photo(), quality=90)
    assert np.array_equal(decode(tmp_path / "x.jpg", content, mode), by_pillow(content))
    with pytest.raises(UnreadableImageError, match=r"cut|truncated"):
        decode(tmp_path / "x.jpg", content[: len(content) // 2] + END, mode)


def same_as_opencv(data: bytes, colorspace: str, strict: bool) -> np.ndarray:
    return module.decode_by_opencv(data)


def brighter(data: bytes, colorspace: str, strict: bool) -> np.ndarray:
    return np.minimum(module.decode_by_opencv(data), 254) + 1


def of_another_version(data: bytes) -> np.ndarray:
    return module.decode_by_opencv(data)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (None, "OpenCV"),
        (same_as_opencv, "simplejpeg"),
        (brighter, "OpenCV"),
        (of_another_version, "OpenCV"),
    ],
)
def test_choice__simplejpeg_if_there_and_equal(
    monkeypatch: pytest.MonkeyPatch, fresh_choice: None, function: object, name: str
) -> None:
    absent_or_fake = None if function is None else SimpleNamespace(decode_jpeg=function)
    monkeypatch.setitem(sys.modules, "simplejpeg", absent_or_fake)
    with log_lines(logging.INFO) as lines:
        for _ in range(2):
            DecodeImage().resolve([])
    assert jpeg_decoder().name == name
    assert lines == [f"JPEG files are decoded by {name}, to the pixels of Pillow {PIL.__version__}"]


def test_choice__none_equal_leaves_all_to_pillow(
    monkeypatch: pytest.MonkeyPatch, fresh_choice: None, tmp_path: Path
) -> None:
    blind = JpegDecoder("OpenCV", lambda data: np.zeros((1, 1, 3), np.uint8))
    monkeypatch.setattr(module, "_installed", lambda: iter([blind]))
    assert jpeg_decoder() is None
    with log_lines(logging.INFO) as lines:
        DecodeImage().resolve([])
    assert "decoded by Pillow itself" in lines[0]
    content = encoded(photo(), quality=90)
    assert np.array_equal(decode(tmp_path / "x.jpg", content), by_pillow(content))


@pytest.mark.parametrize("kind", ["gray", "colors", "rounding"])
def test_equals_pillow__sees_a_difference_in_one_kind(kind: str) -> None:
    """A decoder that differs in grey files only, in coloured ones only, or by one in a single pixel."""

    def decode(data: bytes) -> np.ndarray:
        image = module.decode_by_opencv(data).copy()
        is_gray = Image.open(io.BytesIO(data)).mode == "L"
        if kind == "rounding" and image.size > 3000:
            image[-1, -1, 2] ^= 1
        elif kind == ("gray" if is_gray else "colors"):
            image[0, 0, 0] ^= 1
        return image

    assert equals_pillow(module.decode_by_opencv)
    assert not equals_pillow(decode)


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_check_for_damage__writes_nothing_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], mode: str
) -> None:
    """A grey last corner is what makes the check decode an altered copy, of which OpenCV would tell."""
    path = tmp_path / "gray.jpg"
    Image.new("RGB", (40, 48), (128, 128, 128)).save(path, quality=92)
    DecodeImage(mode=mode).transform({"img_path": str(path)})
    assert capfd.readouterr().err == ""
