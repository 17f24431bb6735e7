"""The values of images with other channels than R, G and B: grey, four bands, stacks of n planes."""

import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageOps

from mmrel.datasets.transforms.image_file import open_image
from mmrel.datasets.transforms.pixel_values import ORIENTATION_TAG, is_wide, wide_values

TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
CHANNEL_AXES = ("C", "S")
"""How tifffile calls the axis of channels, where the file says which it is."""

BANDS = {2: ("LA",), 3: ("RGB",), 4: ("RGBA", "CMYK")}
"""Modes of Pillow whose bands are taken as channels, as they are."""


def channel_values(data: bytes, channels: int, max_pixels: int) -> NDArray[Any]:
    """The values in a file, as they are.

    One channel: what is not grey is converted by Pillow (0.299 R + 0.587 G + 0.114 B), alpha is dropped. More: the
    file must have as many. Of a TIFF file, planes that are pages, or bands of a page; else the bands of the picture,
    alpha among them.

    Args:
        data: the file.
        channels: C.
        max_pixels: larger images are refused.

    Returns:
        ``(H, W, C)``, of the file's type.

    Raises:
        ValueError: it has another number of channels, or is too large.
    """
    if channels == 1:
        return _gray(data, max_pixels)
    if data[:4] in TIFF_BEGINNINGS:
        return _tiff(data, channels, max_pixels)
    with open_image(data, max_pixels) as image:
        if image.mode not in BANDS.get(channels, ()):
            raise ValueError(
                f"it has {len(image.getbands())} channel(s) ({image.mode}), and in_channels of mmrel.DecodeImage is "
                f"{channels}; more than four channels are read from TIFF files"
            )
        if is_wide(image):
            return _wide_bands(data, channels)
        return np.asarray(ImageOps.exif_transpose(image))


def _wide_bands(data: bytes, channels: int) -> NDArray[Any]:
    """Colours of 16 bits, which Pillow would reduce to 8."""
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16 or array.shape[2:] != (channels,):
        raise ValueError(
            f"its {channels} bands of 16 bits cannot be decoded; write them as a TIFF stack"
        )
    return np.ascontiguousarray(array[..., [2, 1, 0, 3][:channels]])


def _gray(data: bytes, max_pixels: int) -> NDArray[Any]:
    with open_image(data, max_pixels) as image:
        wide = wide_values(image, data)
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
        if wide is not None and wide.ndim == 3:
            raise ValueError(
                "it has colours of 16 bits, and in_channels of mmrel.DecodeImage is 1; convert it to grey"
            )
        if wide is not None:
            return wide[..., np.newaxis]
        picture = image if orientation == 1 else ImageOps.exif_transpose(image)
        if picture.mode in ("P", "PA") or "transparency" in picture.info:
            picture = picture.convert("RGBA").convert("RGB")
        return np.asarray(picture.convert("L"))[..., np.newaxis]


def _tiff(data: bytes, channels: int, max_pixels: int) -> NDArray[Any]:
    with tiff_library().TiffFile(io.BytesIO(data)) as file:
        if not file.series:
            raise ValueError("the TIFF file has no image")
        series = file.series[0]
        axes = [
            (name, size) for name, size in zip(series.axes, series.shape, strict=True) if size > 1
        ]
        axis = _channel_axis(axes, channels, series)
        pixels = int(np.prod([size for i, (_, size) in enumerate(axes) if i != axis]))
        if pixels > max_pixels:
            raise ValueError(
                f"{pixels} pixels are more than {max_pixels}; raise max_pixels of mmrel.DecodeImage if it is meant to "
                "be that large"
            )
        values = np.asarray(series.asarray()).reshape([size for _, size in axes])
    return np.ascontiguousarray(np.moveaxis(values, axis, -1))


def _channel_axis(axes: list[tuple[str, int]], channels: int, series: Any) -> int:
    """Which axis holds the channels: the one that the file calls so, else the only one of that length."""
    if len(axes) == 3:
        named = [
            i for i, (name, size) in enumerate(axes) if name in CHANNEL_AXES and size == channels
        ]
        fitting = [i for i in (0, 2) if axes[i][1] == channels]
        for found in (named, fitting):
            if found:
                return found[0]
    told = " x ".join(map(str, series.shape))
    raise ValueError(
        f"the TIFF file holds {told} values (axes {series.axes}), and in_channels of mmrel.DecodeImage is {channels}; "
        f"wanted {channels} x height x width or height x width x {channels}"
    )


def tiff_library() -> Any:
    """The package tifffile.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        import tifffile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "TIFF files of several channels need tifffile: pip install 'mmrel[tiff]'"
        ) from error
    return tifffile
