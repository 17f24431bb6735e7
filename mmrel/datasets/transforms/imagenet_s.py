"""Labels and crops of ImageNet-S (arXiv 2106.03149), whose classes do not fit into a byte."""

from io import BytesIO
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.fileio import get
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import RandomResizedCrop

from mmrel.registry import TRANSFORMS

IGNORED = 1000
"""The label of pixels that count neither in the loss nor in the metric. 255 is a class like any other here."""


@TRANSFORMS.register_module()
class LoadImageNetSAnnotations(BaseTransform):
    """Read a mask of ImageNet-S: the class is R + 256 G, 0 is everything else, 1000 is ignored.

    mmseg's ``LoadAnnotations`` reads one byte per pixel. Pillow decodes here, in the order R, G, B.

    Adds ``gt_seg_map``: int32 ``(H, W)``; nothing where the data set names no mask, as for the test set. Where it says
    its ``num_classes``, as ``mmrel.ImageNetSDataset`` does, a mask of a larger subset is refused.

    Args:
        backend_args: of MMEngine's file client.
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``gt_seg_map``."""
        path = results.get("seg_map_path")
        if path is None:
            return results
        labels = decode_labels(get(path, backend_args=self.backend_args), path)
        if "num_classes" in results:
            _check_labels(labels, results["num_classes"], path)
        results["gt_seg_map"] = labels
        results.setdefault("seg_fields", []).append("gt_seg_map")
        return results


@TRANSFORMS.register_module()
class RandomResizedCropWithLabels(BaseTransform):
    """torchvision's ``RandomResizedCrop`` of an image and its masks: the same box, bilinear and nearest.

    The image is resized with Pillow's antialiasing, as torchvision does.

    Args:
        size: side of the square that comes out, in pixels.
        scale: least and greatest share of the image's area.
        ratio: least and greatest width over height.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        if size < 1 or not 0 < scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(
                f"size is {size}, scale {scale} and ratio {ratio}; give a size of 1 or more, a scale of two shares "
                "in (0, 1] and a ratio of two positive numbers, both ascending"
            )
        self.size = size
        self.scale = tuple(scale)
        self.ratio = tuple(ratio)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replace ``img`` and every mask of ``seg_fields`` with their crops."""
        image = Image.fromarray(results["img"])
        top, left, height, width = RandomResizedCrop.get_params(image, self.scale, self.ratio)
        box = (left, top, left + width, top + height)
        results["img"] = self._resized(image, box, Image.Resampling.BILINEAR)
        for key in results.get("seg_fields", ()):
            labels = Image.fromarray(results[key])
            results[key] = self._resized(labels, box, Image.Resampling.NEAREST)
        results["img_shape"] = results["img"].shape[:2]
        return results

    def _resized(
        self, image: Image.Image, box: tuple[int, int, int, int], how: Image.Resampling
    ) -> NDArray:
        return np.array(image.crop(box).resize((self.size, self.size), how))


def decode_labels(content: bytes, path: str) -> NDArray[np.int32]:
    """The classes in the bytes of a mask, int32 ``(H, W)``.

    Args:
        content: a PNG with the channels R, G, B.
        path: what to call it in the error.

    Raises:
        ValueError: it has other channels.
    """
    with Image.open(BytesIO(content)) as image:
        if image.mode != "RGB":
            raise ValueError(
                f"The mask {path!r} has Pillow's mode {image.mode!r}; ImageNet-S stores its classes as R + 256 G in "
                "RGB files. Use the masks of the data set as they are, or mmseg's LoadAnnotations for others."
            )
        channels = np.asarray(image, dtype=np.int32)
    return channels[..., 0] + 256 * channels[..., 1]


def encode_labels(labels: NDArray) -> NDArray[np.uint8]:
    """Classes ``(H, W)`` as the channels R, G, B of a mask ``(H, W, 3)``, the inverse of :func:`decode_labels`."""
    low, high = labels % 256, labels // 256
    return np.stack([low, high, np.zeros_like(low)], axis=-1).astype(np.uint8)


def _check_labels(labels: NDArray[np.int32], num_classes: int, path: str) -> None:
    counted = labels[labels != IGNORED]
    if counted.size and counted.max() >= num_classes:
        raise ValueError(
            f"The mask {path!r} has the class {counted.max()}; {num_classes - 1} is the last one here ({IGNORED} is "
            "ignored). Name the folder of the subset (ImageNetS50, ImageNetS300, ImageNetS919) that the "
            "configuration is for."
        )
