"""What is read as an image: formats, file name endings, and the header of a file.

Pillow's own ``Image.open`` refuses or warns about large images by a limit that is global to the process. The limit
here is an argument, so files are opened by the decoders that Pillow has registered, without touching that limit.
"""

import io
import struct
from math import inf

from PIL import Image, UnidentifiedImageError, features
from PIL.ImageFile import ImageFile

SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpx", ".jpf"),
}
OPTIONAL = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}
"""Formats that a build of Pillow may lack, and the name of the feature that has them."""

FORMATS = tuple(
    name for name in SUFFIXES if OPTIONAL.get(name) in (None, *features.get_supported())
)
"""Pillow's decoders that may be used; all others are refused, whatever the file name says.
(Pillow opens MPO, the cameras' multi-picture JPEG, through JPEG.)"""

IMAGE_SUFFIXES = tuple(suffix for name in FORMATS for suffix in SUFFIXES[name])
MAX_PIXELS = 178_956_970
BITS_PER_SAMPLE, SAMPLE_FORMAT, SIGNED = 258, 339, 2

Image.init()


def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """Read the header; the pixels are decoded on first use.

    Args:
        data: the whole file.
        max_pixels: larger images are refused. For WebP, Pillow's own limit applies as well.

    Raises:
        ValueError: the file is empty, the image too large, or its values are signed bytes.
        UnidentifiedImageError: it is none of :data:`FORMATS`, or a form of them that Pillow does not know.
    """
    if not data:
        raise ValueError("the file is empty")
    reasons = []
    for name in FORMATS:
        try:
            image = _open_as(name, data)
        except (SyntaxError, IndexError, TypeError, KeyError, struct.error) as error:
            reasons.append(f"as {name}: {error}")
            continue
        if image is not None:
            _check(image, max_pixels)
            return image
    raise UnidentifiedImageError(
        "cannot identify it as an image, or not of a form that Pillow can decode "
        f"({'; '.join(reasons) or 'no known beginning'})"
    )


def _open_as(name: str, data: bytes) -> ImageFile | None:
    factory, accept = Image.OPEN[name]
    # A text instead of a truth value says that this build of Pillow lacks the decoder.
    if accept is not None and accept(data[:16]) is not True:
        return None
    return factory(io.BytesIO(data), "")


def _check(image: ImageFile, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise ValueError(
            f"{image.width} x {image.height} is more than {max_pixels} pixels; raise max_pixels of "
            "mmrel.DecodeImage if it is meant to be that large"
        )
    if image.format == "TIFF" and image.width * image.height > (Image.MAX_IMAGE_PIXELS or inf):
        # Otherwise Pillow's plugin applies that limit when it makes room for the pixels.
        image.im = Image.core.new(image.mode, getattr(image, "_tile_size", image.size))
    if image.mode == "L" and SIGNED in tiff_tag(image, SAMPLE_FORMAT):
        raise ValueError("its values are signed bytes, which Pillow would take for unsigned ones")


def tiff_tag(image: Image.Image, tag: int) -> tuple[int, ...]:
    """Values of a TIFF file's tag; empty for other files."""
    found = getattr(image, "tag_v2", {}).get(tag, ())
    return found if isinstance(found, tuple) else (found,)
