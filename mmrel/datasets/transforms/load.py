"""Decoding: whatever the file holds, 8-bit RGB comes out, or an error that names the file."""

import io
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.fileio import get
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.registry import TRANSFORMS

ByteImage = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM")
"""Pillow's decoders that may be used; all others are refused, whatever the file name says.
(Pillow opens MPO, the cameras' multi-picture JPEG, through JPEG.)"""

MODES = ("exact", "fast")
MAX_PIXELS = 178_956_970
ORIENTATION_TAG = 0x0112
END_OF_IMAGE = b"\xff\xd9"
RGB_FLAG: int | None = getattr(cv2, "IMREAD_COLOR_RGB", None)  # OpenCV 4.11 and newer
REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR if RGB_FLAG is None else RGB_FLAG,
}


@TRANSFORMS.register_module()
class DecodeImage(BaseTransform):
    """Read ``results['img_path']`` into ``results['img']``: uint8 ``(H, W, 3)``, RGB.

    The rules, alike in both modes: EXIF orientation is applied, so that the image stands upright
    (the papers' codes ignore it); alpha is dropped; palette, grey, CMYK and 1-bit images are
    converted by Pillow; 16-bit values keep their high byte; images without a fixed range (32-bit
    integer, float) are stretched from their minimum and maximum to 0 and 255; of an animated or
    multi-page file the first picture counts.

    Modes:
        ``'exact'``: Pillow decodes at full size.
        ``'fast'``: OpenCV decodes JPEG files, at 1/2, 1/4 or 1/8 of their size as long as the
        shorter side stays at least ``min_side``; Pillow decodes everything else. Boxes refer to the
        decoded image.

    Args:
        mode: ``'exact'`` or ``'fast'``.
        min_side: see above, in pixels. The default keeps DINO's and iBOT's crops from being
            magnified by it.
        max_pixels: larger images are refused before they are decoded. Pillow's own limit applies as
            well.

    Raises:
        UnreadableImageError: from ``transform``, for every file that gives no image.
    """

    def __init__(
        self, mode: str = "exact", min_side: int = 480, max_pixels: int = MAX_PIXELS
    ) -> None:
        check_mode(mode)
        self.mode = mode
        self.min_side = min_side
        self.max_pixels = max_pixels

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img``, ``img_shape`` and ``ori_shape`` (height, width)."""
        path = results["img_path"]
        try:
            image = self._decode(get(path))
        except Exception as error:  # decoders raise almost anything on malformed bytes
            raise UnreadableImageError(path, f"{type(error).__name__}: {error}") from error
        results["img"] = image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results

    def _decode(self, data: bytes) -> ByteImage:
        if not data:
            raise ValueError("the file is empty")
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > self.max_pixels:
                raise ValueError(
                    f"{image.width} x {image.height} is more than {self.max_pixels} pixels"
                )
            if self.mode == "fast" and _opencv_decodes_alike(image, data):
                return _decode_jpeg(data, min(image.size) // max(self.min_side, 1))
            if image.getexif().get(ORIENTATION_TAG, 1) != 1:
                return np.array(to_rgb(ImageOps.exif_transpose(image)))
            return np.array(to_rgb(image))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mode={self.mode!r}, min_side={self.min_side})"


def check_mode(mode: str) -> None:
    """Raise ``ValueError`` unless it is a known mode."""
    if mode not in MODES:
        raise ValueError(
            f"mode is {mode!r}; choose 'exact' (Pillow) or 'fast' (OpenCV and torch), the same for "
            "mmrel.DecodeImage and mmrel.MultiCrop"
        )


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow image to mode RGB by the rules of :class:`DecodeImage`."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        high = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return Image.fromarray(high).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_stretch(np.asarray(image, dtype=np.float64))).convert("RGB")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _stretch(values: NDArray[np.float64]) -> ByteImage:
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("the image has non-finite values")
    scale = 255 / (high - low) if high > low else 0.0
    return np.rint((values - low) * scale).astype(np.uint8)


def _opencv_decodes_alike(image: Image.Image, data: bytes) -> bool:
    """Whether it is a grey or colour JPEG with its end.

    OpenCV fills truncated files with grey and says nothing, Pillow refuses them.
    """
    is_jpeg = image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L")
    return is_jpeg and data.endswith(END_OF_IMAGE)


def _decode_jpeg(data: bytes, reduction: int) -> ByteImage:
    factor = next(f for f in REDUCED if f <= max(reduction, 1))
    image = cv2.imdecode(np.frombuffer(data, np.uint8), REDUCED[factor])
    if image is None:
        raise ValueError("OpenCV cannot decode it")
    if REDUCED[factor] == RGB_FLAG:
        return np.asarray(image, dtype=np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), dtype=np.uint8)
