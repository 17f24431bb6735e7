"""The resizing of evaluation protocols, for rectangles as for squares."""

from typing import Any

import mmcv
from mmcv.transforms import BaseTransform

from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ResizeToCover(BaseTransform):
    """Resize ``img``, in its own aspect ratio, so that it just covers a rectangle; bicubic, by Pillow.

    Of a square this is mmpretrain's ``ResizeEdge`` of the short side, pixel by pixel.

    Args:
        size: (height, width) to cover, in pixels.
        min_side: images with a side of fewer pixels are refused.

    Raises:
        UnreadableImageError: from ``transform``, for an image with a side below ``min_side``.
    """

    def __init__(self, size: tuple[int, int], min_side: int = 1) -> None:
        self.size = size
        self.min_side = min_side

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change ``img`` and ``img_shape``."""
        height, width = results["img"].shape[:2]
        if min(height, width) < self.min_side:
            raise UnreadableImageError(
                results.get("img_path", "an image"),
                f"{height}x{width} pixels are smaller than a patch of {self.min_side}; give a larger image",
            )
        results["img"] = mmcv.imresize(
            results["img"], self._cover(height, width), interpolation="bicubic", backend="pillow"
        )
        results["img_shape"] = results["img"].shape[:2]
        return results

    def _cover(self, height: int, width: int) -> tuple[int, int]:
        """(width, height) after resizing."""
        rows, cols = self.size
        if cols * height >= rows * width:
            return cols, max(rows, int(cols * height / width))
        return max(cols, int(rows * width / height)), rows

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, min_side={self.min_side})"
