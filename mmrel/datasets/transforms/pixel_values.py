"""Images whose values have more than 8 bits, as 8-bit RGB, by one rule for all images of a data set.

A stretch of each image by itself would make a dark and a bright one alike, and the high byte of 12-bit values that
stand in 16 bits leaves 16 grey levels. So the number of significant bits, or the range of values that have no fixed
one, is a property of the data set: given, or found once from a sample of its files.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from mmrel.datasets.transforms.image_file import BITS_PER_SAMPLE, tiff_tag

ByteImage = NDArray[np.uint8]
Range = tuple[float, float]

BIT_DEPTHS = (8, 10, 12, 14, 16)
ORIENTATION_TAG = 0x0112
UNSIGNED_SOURCES = ("PNG", "PPM", "JPEG2000")
"""Formats whose mode "I" holds unsigned 16-bit values, as some versions of Pillow open them."""


@dataclass(frozen=True)
class PixelDepth:
    """How values of more than 8 bits become 8-bit ones.

    Attributes:
        bits: significant bits of unsigned 16-bit values, whose upper 8 are kept; ``None``: the fewest of
            :data:`BIT_DEPTHS` that hold the image at hand.
        value_range: what becomes 0 and 255, of values without a fixed range (32-bit integers, signed ones, floats);
            values outside are clipped. ``None``: smallest and largest of the image at hand.
    """

    bits: int | None = None
    value_range: Range | None = None

    def __post_init__(self) -> None:
        if self.bits is not None and self.bits not in BIT_DEPTHS:
            raise ValueError(
                f"bit_depth is {self.bits!r}; choose 'auto' or one of {', '.join(map(str, BIT_DEPTHS))}"
            )
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range is {self.value_range}; give (low, high) with low < high")

    def to_bytes(self, values: NDArray[Any]) -> ByteImage:
        """8-bit values of an array of uint16 or float64.

        Raises:
            ValueError: a value does not fit into the bits, or is not finite.
        """
        if values.dtype == np.uint16:
            bits = self.bits or needed_bits(int(values.max()))
            if int(values.max()) >> bits:
                raise ValueError(
                    f"its value {values.max()} does not fit into the {bits} bits of this data set; give "
                    f"bit_depth={needed_bits(int(values.max()))} to mmrel.DecodeImage"
                )
            return (values >> (bits - 8)).astype(np.uint8)
        low, high = self.value_range or value_range(values)
        scale = 255 / (high - low) if high > low else 0.0
        return np.rint((np.clip(values, low, high) - low) * scale).astype(np.uint8)


def to_rgb(
    image: Image.Image, depth: PixelDepth | None = None, data: bytes | None = None
) -> Image.Image:
    """Convert any Pillow image to mode RGB, upright, by the rules of :class:`mmrel.datasets.DecodeImage`.

    Args:
        image: not yet loaded, if it comes from a file.
        depth: what to do with values of more than 8 bits; ``None``: judge by this image.
        data: the file's content, without which colours of 16 bits keep their upper 8.
    """
    # First, since reading the EXIF data of a PNG file loads its pixels, reduced to 8 bits.
    values = wide_values(image, data)
    orientation = image.getexif().get(ORIENTATION_TAG, 1)
    if values is not None:
        image = Image.fromarray((depth or PixelDepth()).to_bytes(values))
        image.getexif()[ORIENTATION_TAG] = orientation
    if orientation != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode != "RGB" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def wide_values(image: Image.Image, data: bytes | None = None) -> NDArray[Any] | None:
    """The values of an image that has more than 8 bits each, else ``None``.

    Args:
        image: not yet loaded, if it comes from a file.
        data: the file's content, for colour images, which Pillow itself reduces to 8 bits.

    Returns:
        uint16 or float64, ``(H, W)`` or, RGB, ``(H, W, 3)``.
    """
    if _is_unsigned_gray(image):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        unsigned = "I;32" in _raw_mode(image) and not _raw_mode(image).endswith("S")
        array = np.asarray(image)
        return (array.view(np.uint32) if unsigned else array).astype(np.float64)
    if data is not None and _has_wide_colors(image):
        return _wide_colors(image, data)
    return None


def is_wide(image: Image.Image) -> bool:
    """Whether an image that is not yet loaded has values of more than 8 bits."""
    return image.mode in ("I", "F") or _is_unsigned_gray(image) or _has_wide_colors(image)


def needed_bits(maximum: int) -> int:
    """The fewest of :data:`BIT_DEPTHS` that hold a value."""
    return next(bits for bits in BIT_DEPTHS if maximum < 1 << bits)


def value_range(values: NDArray[Any]) -> Range:
    """Smallest and largest value.

    Raises:
        ValueError: one is not finite.
    """
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("the image has non-finite values")
    return low, high


def common_depth(images: Iterable[NDArray[Any]], given: PixelDepth) -> PixelDepth:
    """The depth that fits all of several images; what is given already stays.

    Args:
        images: as :func:`wide_values` returns them.
        given: the depth so far.
    """
    bits, extent = 0, (np.inf, -np.inf)
    for values in images:
        if values.dtype == np.uint16:
            bits = max(bits, needed_bits(int(values.max())))
        else:
            low, high = value_range(values)
            extent = min(extent[0], low), max(extent[1], high)
    found = extent if extent[0] < extent[1] else None
    return PixelDepth(given.bits or bits or None, given.value_range or found)


def _is_unsigned_gray(image: Image.Image) -> bool:
    """Whether it has one channel of unsigned 16-bit values."""
    is_integer = image.mode == "I" and image.format in UNSIGNED_SOURCES
    return is_integer or image.mode.startswith("I;16")


def _raw_mode(image: Image.Image) -> str:
    """How the values lie in the file, in Pillow's words; empty once the pixels are loaded."""
    arguments = _tile_arguments(image)
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _tile_arguments(image: Image.Image) -> Any:
    """What Pillow notes for the decoder of a file that is not yet loaded."""
    tile = image.tile if isinstance(image, ImageFile) else ()
    return tile[0][3] if tile else None


def _has_wide_colors(image: Image.Image) -> bool:
    if image.mode not in ("RGB", "RGBA", "RGBX", "LA"):
        return False
    if image.format == "PPM":
        arguments = _tile_arguments(image)
        # Pillow scales other maxima than 65535 as the header says.
        return isinstance(arguments, tuple) and arguments[-1:] == (65535,)
    bits = max(tiff_tag(image, BITS_PER_SAMPLE), default=8)
    return bits == 16 or re.search(";16", _raw_mode(image)) is not None


def _wide_colors(image: Image.Image, data: bytes) -> NDArray[Any]:
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16 or array.shape[:2] != image.size[::-1]:
        raise ValueError("OpenCV cannot decode its 16-bit colours")
    return np.ascontiguousarray(array[..., 2::-1]) if array.ndim == 3 else np.asarray(array)
