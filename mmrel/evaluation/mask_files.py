"""Masks as files hold them: one class number per pixel, whatever colours it is shown in."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.datasets.transforms.image_file import open_image

Labels = NDArray[np.int64]
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
"""Endings of formats that keep each value as it was written."""

LOSSY = ("JPEG", "WEBP", "JPEG2000", "AVIF")
NUMBERS = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B")
"""Pillow's modes with one whole number per pixel; for a palette picture (P), its index."""

STRETCHED = {"L;2": 85, "L;2I": 85, "L;4": 17, "L;4I": 17}
"""Grey values of 2 and 4 bits, which Pillow stretches to 0-255 on reading, and by how much."""


def read_mask(path: Path) -> Labels:
    """The numbers in a mask, int64 ``(H, W)``: grey values, or indices into the palette, never its colours.

    Raises:
        UnreadableImageError: the file holds no image, or one with several channels, or in a lossy format.
    """
    try:
        image = open_image(path.read_bytes())
        _check_numbers(image)
        stretch = _stretch(image)
        return np.asarray(image).astype(np.int64) // stretch
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(str(path), f"{type(error).__name__}: {error}") from error


def _check_numbers(image: ImageFile) -> None:
    if image.format in LOSSY:
        raise ValueError(
            f"a mask in {image.format} has changed values around each border; write it as PNG"
        )
    if image.mode not in NUMBERS:
        raise ValueError(
            f"the mask has mode {image.mode} with the channels {', '.join(image.getbands())}; wanted one class number "
            "per pixel, grey or indices of a palette: convert colours to numbers and write a PNG of one channel"
        )


def _stretch(image: ImageFile) -> int:
    found: Any = image.tile[0][3] if image.tile else None
    mode = found[0] if isinstance(found, tuple) and found else found
    return STRETCHED.get(mode, 1) if isinstance(mode, str) else 1
