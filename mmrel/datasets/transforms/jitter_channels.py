"""Brightness and contrast of each channel by itself, for images whose channels are no colours."""

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray

from mmrel.datasets.transforms.pixel_values import ByteImage
from mmrel.datasets.transforms.random_keys import Purpose, sample_generator
from mmrel.registry import TRANSFORMS
from mmrel.structures import SampleKey

LEVELS = np.arange(256, dtype=np.float64)


@TRANSFORMS.register_module()
class JitterChannels(BaseTransform):
    """Change brightness and contrast of every view, each channel by factors of its own.

    What takes the place of hue, saturation and grey, which only R, G and B have, for multispectral, medical and depth
    images: channels are measured independently, so their gains vary independently. With b and c from U(max(0, 1 - s),
    1 + s) a value v becomes ``c * (b v - m) + m``, m the channel's mean in the view times b; rounded and clipped to
    0 ... 255 once. It comes after ``mmrel.MultiCrop``, with ``jitter=(0, 0, 0, 0)`` in ``mmrel.DrawColorAugmentation``.

    Args:
        brightness: strength s of brightness, 0 or more.
        contrast: strength s of contrast.
        prob: chance of both, drawn per view.
    """

    def __init__(self, brightness: float = 0.4, contrast: float = 0.4, prob: float = 0.8) -> None:
        if min(brightness, contrast) < 0 or not 0 <= prob <= 1:
            raise ValueError(
                f"brightness is {brightness}, contrast is {contrast} and prob is {prob}; give strengths of 0 or more "
                "and a chance in [0, 1]"
            )
        self.strengths = np.array([brightness, contrast])
        self.prob = prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replace ``views``."""
        views = results["views"]
        factors = self.draw(results["key"], len(views), len(views[0]))
        results["views"] = [
            jittered(view, rows) if np.any(rows != 1) else view
            for view, rows in zip(views, factors, strict=True)
        ]
        return results

    def draw(self, key: SampleKey, num_views: int, channels: int) -> NDArray[np.float64]:
        """Factors ``(num_views, channels, 2)`` of brightness and contrast; 1 where nothing changes."""
        uniform = sample_generator(key, Purpose.CHANNELS).random((num_views, 1 + 2 * channels))
        low = np.maximum(0, 1 - self.strengths)
        factors = low + (1 + self.strengths - low) * uniform[:, 1:].reshape(num_views, channels, 2)
        return np.where((uniform[:, 0] < self.prob)[:, None, None], factors, 1.0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(strengths={self.strengths.tolist()}, prob={self.prob})"


def jittered(view: ByteImage, factors: NDArray[np.float64]) -> ByteImage:
    """Channels ``(C, h, w)`` with factors ``(C, 2)``, by one table of 256 values for each channel."""
    result = np.empty_like(view)
    for plane, out, (brightness, contrast) in zip(view, result, factors, strict=True):
        mean = brightness * plane.mean()
        values = contrast * (brightness * LEVELS - mean) + mean
        cv2.LUT(plane, np.rint(values.clip(0, 255)).astype(np.uint8), dst=out)
    return result
