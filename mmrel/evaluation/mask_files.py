"""Masks as files hold them: one class number per pixel, whatever colours it is shown in."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from mmrel.datasets.annotations.mask_file import LOSSY, NUMBERS, stretch
from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.datasets.transforms.image_file import open_image

Labels = NDArray[np.int64]


def read_mask(path: Path) -> Labels:
    """The numbers in a mask, int64 ``(H, W)``: grey values, or indices into the palette, never its colours.

    Raises:
        UnreadableImageError: the file holds no image, or one with several channels, or in a lossy format.
    """
    try:
        image = open_image(path.read_bytes())
        _check_numbers(image)
        factor = stretch(image)  # known until the pixels are read
        return np.asarray(image).astype(np.int64) // factor
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
