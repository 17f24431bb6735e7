"""Decoding: whatever the file holds, 8-bit RGB comes out, or an error that names the file."""

import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.fileio import get
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.datasets.transforms.channel_decoder import ChannelDecoder
from mmrel.datasets.transforms.channel_scale import Ranges, is_per_channel
from mmrel.datasets.transforms.image_file import MAX_PIXELS, SUFFIXES, open_image
from mmrel.datasets.transforms.jpeg_check import Scans, check_structure
from mmrel.datasets.transforms.jpeg_decoder import (
    SAMPLINGS,
    Decode,
    announce_decoder,
    decode_by_opencv,
    decode_upright,
    jpeg_decoder,
)
from mmrel.datasets.transforms.jpeg_length import check_length
from mmrel.datasets.transforms.orientation import LAST_CORNER
from mmrel.datasets.transforms.pixel_values import (
    ORIENTATION_TAG,
    ByteImage,
    PixelDepth,
    common_depth,
    is_wide,
    to_rgb,
    wide_values,
)
from mmrel.registry import TRANSFORMS

if TYPE_CHECKING:
    from mmrel.datasets.sources import ImageSource

MODES = ("exact", "fast")
START_OF_IMAGE, END_OF_IMAGE = b"\xff\xd8\xff", b"\xff\xd9"
REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
}
WIDE_SUFFIXES = tuple(s for name in ("PNG", "TIFF", "PPM", "JPEG2000") for s in SUFFIXES[name])
"""Endings of files whose values may have more than 8 bits."""

PROBED_HEADERS, PROBED_IMAGES = 64, 16


@TRANSFORMS.register_module()
class DecodeImage(BaseTransform):
    """Read ``results['img_path']`` into ``results['img']``: uint8 ``(H, W, 3)``, RGB.

    Where the path is no file of its own, as in an archive, ``results['img_reader']`` gives its content.

    The rules, alike in both modes: EXIF orientation is applied, so that the image stands upright
    (the papers' codes ignore it); alpha is dropped; palette, grey, CMYK and 1-bit images are
    converted by Pillow; of an animated or multi-page file the first picture counts.

    Values of more than 8 bits are reduced by one rule for the whole data set. Unsigned 16-bit values, grey or
    colour, keep the upper 8 of their ``bit_depth`` bits. Values without a fixed range (32-bit integer, signed, float)
    are mapped linearly from ``value_range`` to 0 and 255. What is not given is found from a sample of the files when
    ``mmrel.ImageFolder`` is built (:meth:`resolve`), and logged; without a data set, each image is judged by itself.

    Modes:
        ``'exact'``: at full size, to Pillow's pixels: by Pillow, or where it is the same, faster
        (:mod:`mmrel.datasets.transforms.jpeg_decoder`).
        ``'fast'``: OpenCV decodes JPEG files at 1/2, 1/4 or 1/8 of their size as long as the
        shorter side stays at least ``min_side``; others as in ``'exact'``, or by OpenCV where its pixels
        differ. Boxes refer to the decoded image.

    Other channels than R, G and B (``in_channels``) come out as uint8 ``(H, W, C)``, see :func:`channel_values`: grey
    for one; the planes or bands of a TIFF file, or the four bands of an RGBA file, for more. Their values become bytes
    by ``value_range`` or ``bit_depth`` alone; nothing is found from the files.

    Args:
        mode: ``'exact'`` or ``'fast'``.
        min_side: see above, in pixels. The default keeps DINO's and iBOT's crops from being
            magnified by it.
        max_pixels: larger images are refused before they are decoded, whatever Pillow's own limit is.
        bit_depth: 8, 10, 12, 14, 16 or ``'auto'``: significant bits of 16-bit values.
        value_range: (low, high), or ``None`` to find it; or such a pair for each channel.
        in_channels: 3 for RGB, or the number of channels of the files.

    Raises:
        UnreadableImageError: from ``transform``, for every file that gives no image.
    """

    def __init__(
        self,
        mode: str = "exact",
        min_side: int = 480,
        max_pixels: int = MAX_PIXELS,
        bit_depth: int | str = "auto",
        value_range: Ranges | None = None,
        in_channels: int = 3,
    ) -> None:
        check_mode(mode)
        self.channels = None
        if in_channels != 3 or is_per_channel(value_range):
            self.channels = ChannelDecoder(in_channels, bit_depth, value_range, max_pixels)
            bit_depth, value_range = "auto", None
        self.mode = mode
        self.min_side = min_side
        self.max_pixels = max_pixels
        # A text other than 'auto' is refused there, with the values allowed.
        bits: Any = None if bit_depth == "auto" else bit_depth
        self.depth = PixelDepth(
            bits,
            None if value_range is None else (value_range[0], value_range[1]),  # type: ignore[arg-type]
        )

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img``, ``img_shape`` and ``ori_shape`` (height, width)."""
        path = results["img_path"]
        read = results.pop("img_reader", partial(get, path))
        try:
            image = self.decode(read())
        except Exception as error:  # decoders raise almost anything on malformed bytes
            raise UnreadableImageError(path, f"{type(error).__name__}: {error}") from error
        results["img"] = image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results

    def resolve(self, images: "ImageSource") -> None:
        """Find from a sample of the files what is not given: bits and range of values of more than 8 bits.

        It looks at the headers of up to 64 files that may have such values, spread evenly, and decodes up to 16 of
        those that do; the same files give the same answer. Without any, nothing is decided. What decodes JPEG files is
        logged here as well.

        Args:
            images: the data set's.
        """
        if self.channels is not None:
            self.channels.check(images)
            return
        announce_decoder()
        if None not in (self.depth.bits, self.depth.value_range) or not len(images):
            return
        chosen = _spread(images.with_ending(WIDE_SUFFIXES), PROBED_HEADERS)
        wide = [i for i in chosen if self._wide_values(images, i, header_only=True) is not None]
        arrays = [self._wide_values(images, i) for i in _spread(wide, PROBED_IMAGES)]
        found = common_depth([array for array in arrays if array is not None], self.depth)
        if found != self.depth:
            self.depth = found
            print_log(
                f"images of more than 8 bits, such as {images.path(wide[0])}: {self._describe_depth()}, found from "
                f"{len(arrays)} of them; mmrel.DecodeImage takes bit_depth and value_range to say otherwise",
                "current",
                logging.WARNING,
            )

    def _wide_values(self, images: "ImageSource", index: int, header_only: bool = False) -> Any:
        """Values of more than 8 bits in a file, or ``None``; one that cannot be read is met again when training."""
        try:
            data = images.read(index)
            image = open_image(data, self.max_pixels)
            return (True if is_wide(image) else None) if header_only else wide_values(image, data)
        except Exception:
            return None

    def _describe_depth(self) -> str:
        bits, values = self.depth.bits, self.depth.value_range
        parts = [f"16-bit values are taken to have {bits} significant bits"] if bits else []
        if values is not None:
            parts.append(
                f"other values are mapped from {values[0]:g} ... {values[1]:g} to 0 ... 255"
            )
        return " and ".join(parts)

    def decode(self, data: bytes) -> ByteImage:
        """The image in a file's content, uint8 ``(H, W, C)``."""
        if self.channels is not None:
            return self.channels.decode(data)
        scans, damage = _scans(data)
        if scans is not None and scans.plain and 0 < math.prod(scans.size) <= self.max_pixels:
            # Pillow would find no more in the header, in as much time as the whole check takes.
            return self._decode_jpeg(_Header("RGB", scans.size, 1), data, scans)
        with open_image(data, self.max_pixels) as image:
            if image.format not in ("JPEG", "MPO"):
                return np.array(to_rgb(image, self.depth, data))
            if damage is not None:
                raise damage
            orientation = image.getexif().get(ORIENTATION_TAG, 1)
            return self._decode_jpeg(_Header(image.mode, image.size, orientation), data, scans)

    def _decode_jpeg(self, header: "_Header", data: bytes, scans: Scans | None) -> ByteImage:
        # Blocks without data are grey, but not in CMYK.
        gray = header.mode != "CMYK"
        corner = LAST_CORNER.get(header.orientation, (-1, -1)) if gray else None
        decode = self._choose(header, data, scans)
        pixels = decode(data)
        if scans is not None:
            # Of the altered copies that the check decodes OpenCV would tell on the terminal, as of damaged files.
            again = decode if self._reduction(header) > 1 else self._by_pillow
            check_length(data, scans, pixels, again, corner)
        return pixels

    @property
    def _by_pillow(self) -> Decode:
        return partial(_decode_by_pillow, max_pixels=self.max_pixels)

    def _reduction(self, header: "_Header") -> int:
        """By how much a JPEG file may be reduced as it is decoded; 1 or less: not at all."""
        return min(header.size) // max(self.min_side, 1) if self.mode == "fast" else 1

    def _choose(self, header: "_Header", data: bytes, scans: Scans | None) -> Decode:
        """The decoder of a JPEG file: Pillow, unless a faster one is known to do as well."""
        by_pillow = self._by_pillow
        if header.mode not in ("RGB", "L") or not data.endswith(END_OF_IMAGE):
            return by_pillow
        reduction = self._reduction(header)
        if reduction > 1:
            flags = REDUCED[next(factor for factor in REDUCED if factor <= reduction)]
            return partial(decode_by_opencv, flags=flags)
        decoder = jpeg_decoder()
        if decoder is not None and scans is not None and scans.sampling in SAMPLINGS:
            return partial(decode_upright, decoder.decode, header.orientation, by_pillow)
        if self.mode == "fast":
            return partial(decode_upright, decode_by_opencv, header.orientation, by_pillow)
        return by_pillow

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mode={self.mode!r}, min_side={self.min_side}, depth={self.depth})"


def share_depth(reference: Any, other: Any) -> None:
    """Let a data set read values of more than 8 bits as another one does, whatever its own files suggest."""
    sources, targets = (
        [t for t in _transforms(dataset) if isinstance(t, DecodeImage)]
        for dataset in (reference, other)
    )
    for source in sources[:1]:
        for target in targets:
            target.depth = source.depth


def _transforms(dataset: Any) -> Sequence[Any]:
    return getattr(getattr(dataset, "pipeline", None), "transforms", ())


def check_mode(mode: str) -> None:
    """Raise ``ValueError`` unless it is a known mode."""
    if mode not in MODES:
        raise ValueError(
            f"mode is {mode!r}; choose 'exact' (Pillow's pixels) or 'fast' (OpenCV and torch), the same for "
            "mmrel.DecodeImage and mmrel.MultiCrop"
        )


def _spread(items: Sequence[int] | NDArray[np.int64], count: int) -> list[int]:
    """At most ``count`` items, evenly spread, in their order."""
    if len(items) <= count:
        return [int(item) for item in items]
    return [int(items[i]) for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


class _Header(NamedTuple):
    """What must be known of a JPEG file to choose its decoder: Pillow's mode, width and height, EXIF orientation."""

    mode: str
    size: tuple[int, int]
    orientation: int


def _scans(data: bytes) -> tuple[Scans | None, ValueError | None]:
    """The scans of a JPEG file, or what is wrong with it; of all other files, neither."""
    if not data.startswith(START_OF_IMAGE):
        return None, None
    try:
        return check_structure(data), None
    except ValueError as error:
        return None, error


def _decode_by_pillow(data: bytes, max_pixels: int) -> ByteImage:
    with open_image(data, max_pixels) as image:
        return np.array(to_rgb(image))
