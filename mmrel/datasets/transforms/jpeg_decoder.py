"""Decoders of JPEG files that give the same pixels as Pillow in less time.

Pillow, OpenCV and simplejpeg (``pip install mmrel[fast]``) are all built on libjpeg-turbo, but each brings a version
and a set-up of its own, and Pillow copies every pixel twice more. So a decoder is used where a comparison with the
installed Pillow has found no difference: for the common kinds of colour subsampling, sequential and progressive. All
else is left to Pillow.
"""

import importlib
import io
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import Image, __version__

from mmrel.datasets.transforms.orientation import TURNS
from mmrel.datasets.transforms.pixel_values import ByteImage

Decode = Callable[[bytes], ByteImage]
"""From a file to its picture, uint8 ``(H, W, 3)``, RGB, as it lies in the file; raises for what it cannot decode."""

Sampling = tuple[tuple[int, int], ...]
"""Of each component, the horizontal and the vertical sampling factor."""

GRAY: Sampling = ((1, 1),)
SAMPLINGS: dict[Sampling, dict[str, Any]] = {
    GRAY: {},
    ((1, 1), (1, 1), (1, 1)): {"subsampling": 0},
    ((2, 1), (1, 1), (1, 1)): {"subsampling": 1},
    ((2, 2), (1, 1), (1, 1)): {"subsampling": 2},
}
"""What is compared, and how Pillow is told to write it."""

RGB_FLAG: int | None = getattr(cv2, "IMREAD_COLOR_RGB", None)  # OpenCV 4.11 and newer


class JpegDecoder(NamedTuple):
    """A decoder whose pixels equal Pillow's.

    Attributes:
        name: of the library.
        decode: see :data:`Decode`.
    """

    name: str
    decode: Decode


@cache
def jpeg_decoder() -> JpegDecoder | None:
    """The first of simplejpeg and OpenCV that is there and gives Pillow's pixels, if one does."""
    return next((decoder for decoder in _installed() if equals_pillow(decoder.decode)), None)


@cache
def announce_decoder() -> None:
    """Log, once in a process, what decodes JPEG files."""
    found = jpeg_decoder()
    name = "Pillow itself" if found is None else found.name
    print_log(f"JPEG files are decoded by {name}, to the pixels of Pillow {__version__}", "current")


def _installed() -> Iterator[JpegDecoder]:
    try:
        module = importlib.import_module("simplejpeg")
    except ImportError:
        pass
    else:
        yield JpegDecoder("simplejpeg", partial(module.decode_jpeg, colorspace="RGB", strict=False))
    yield JpegDecoder("OpenCV", decode_by_opencv)


def decode_by_opencv(data: bytes, flags: int | None = None) -> ByteImage:
    """Decode to RGB.

    Args:
        data: the file.
        flags: of ``cv2.imread``; by default the picture is not turned as its EXIF orientation says.

    Raises:
        ValueError: OpenCV cannot decode it.
    """
    if flags is None:
        color = cv2.IMREAD_COLOR if RGB_FLAG is None else RGB_FLAG
        flags = color | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise ValueError("OpenCV cannot decode it")
    if RGB_FLAG is None or not flags & RGB_FLAG:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return np.asarray(image, dtype=np.uint8)


def decode_upright(decode: Decode, orientation: int, by_pillow: Decode, data: bytes) -> ByteImage:
    """What a decoder that knows nothing of EXIF gives, turned; what it refuses, Pillow has to judge."""
    try:
        pixels = decode(data)
    except (ValueError, RuntimeError, cv2.error):
        return by_pillow(data)
    turn = TURNS.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def equals_pillow(decode: Decode) -> bool:
    """Whether a decoder gives Pillow's pixels for small files of all of :data:`SAMPLINGS`."""
    rng = np.random.default_rng(0)
    for sampling, options in SAMPLINGS.items():
        for shape in ((33, 47), (16, 2), (1, 1)):
            colors = Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
            picture = colors.convert("L") if sampling == GRAY else colors
            for progressive in (False, True):
                stream = io.BytesIO()
                picture.save(stream, "JPEG", quality=90, progressive=progressive, **options)
                if not _same_pixels(decode, stream):
                    return False
    return True


def _same_pixels(decode: Decode, stream: io.BytesIO) -> bool:
    with Image.open(stream) as image:
        wanted = np.asarray(image.convert("RGB"))
    try:
        return np.array_equal(decode(stream.getvalue()), wanted)
    except (
        Exception
    ):  # a library of another version than this was written for is none that can be used
        return False
