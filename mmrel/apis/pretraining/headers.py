"""The beginning of image files: sizes and channels, without decoding what looks whole."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.datasets.transforms.image_file import open_image

SAMPLE = 512
"""Headers that are read; their share of unreadable files is known to a few percent then."""

HEADER = 1 << 17
"""Bytes that are read of each at first."""

ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
"""Last bytes of whole files of a format."""

WITH_EXIF = ("JPEG", "MPO", "TIFF", "WEBP")
"""Formats whose orientation is told by the header; to look for it in a PNG file, Pillow decodes the whole."""

ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)
BANDS = {"1": 1, "L": 1, "LA": 1, "I": 1, "I;16": 1, "I;16B": 1, "F": 1}


@dataclass(frozen=True)
class Header:
    """What the beginning of an image file tells: its size upright in pixels, channels, and whether they are wide."""

    height: int
    width: int
    channels: int
    wide: bool


def look_at(folder: Path, images: Sequence[str]) -> tuple[list[Header], dict[str, str]]:
    """Headers of a sample spread evenly over the images, and the files of it that cannot be read."""
    count = min(SAMPLE, len(images))
    headers, unreadable = [], {}
    for name in (images[i * len(images) // count] for i in range(count)):
        try:
            headers.append(read_header(folder / name))
        except Exception as error:  # decoders raise almost anything on malformed bytes
            unreadable[name] = _reason(error)
    return headers, unreadable


def read_header(path: Path) -> Header:
    """Size and channels of an image file; one that ends as no whole file does is decoded, to be sure.

    Raises:
        Exception: whatever a decoder finds wrong with it.
    """
    with path.open("rb") as file:
        start = file.read(HEADER)
        file.seek(-min(len(start), 16), os.SEEK_END)
        end = file.read()
    try:
        image = open_image(start)
    except Exception:
        image = open_image(path.read_bytes())  # a header that is longer than what was read
    if not end.endswith(ENDS.get(image.format or "", b"")):
        _decode(path)
    width, height = image.size
    if image.format in WITH_EXIF and image.getexif().get(ORIENTATION) in TURNED:
        width, height = height, width
    wide = image.mode.startswith(("I", "F"))
    return Header(height, width, BANDS.get(image.mode, 3), wide)


def _reason(error: Exception) -> str:
    text = error.reason if isinstance(error, UnreadableImageError) else str(error)
    return text.partition("\n")[0][:120] or type(error).__name__


def _decode(path: Path) -> None:
    from mmrel.datasets.transforms.load import DecodeImage

    DecodeImage().transform({"img_path": str(path)})
