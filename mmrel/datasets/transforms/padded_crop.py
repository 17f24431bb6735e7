"""The crop of small images in their native size: padding and a random shift."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray

from mmrel.datasets.transforms.pixel_values import ByteImage
from mmrel.datasets.transforms.random_keys import Purpose, sample_generator
from mmrel.registry import TRANSFORMS
from mmrel.structures import SampleKey


@TRANSFORMS.register_module()
class PaddedCrop(BaseTransform):
    """Cut one view out of ``results['img']`` with a black border around it, as CIFAR is usually augmented.

    Adds what ``mmrel.MultiCrop`` adds, for one global view: ``views``: a uint8 array ``(3, size, size)``, not
    flipped; ``geometry``: float32 ``(1, 5)``, ``(x, y, w, h, flip)`` in pixels of the image, x and y from
    ``-padding``; ``num_global``: 1.

    Args:
        size: side of the view in pixels.
        padding: width of the border in pixels.
        flip_prob: chance of a left-right flip.
    """

    def __init__(self, size: int, padding: int = 4, flip_prob: float = 0.5) -> None:
        if size < 1 or padding < 0 or not 0 <= flip_prob <= 1:
            raise ValueError(
                f"size is {size}, padding {padding} and flip_prob {flip_prob}; give a size of 1 or more, a "
                "padding of 0 or more and a chance in [0, 1]"
            )
        self.size = size
        self.padding = padding
        self.flip_prob = flip_prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``views``, ``geometry`` and ``num_global``."""
        image: ByteImage = results["img"]
        geometry = self.draw(results["key"], image.shape[0], image.shape[1])
        left, top = geometry[0, :2].astype(int) + self.padding
        border = (self.padding, self.padding)
        planes = np.pad(image.transpose(2, 0, 1), ((0, 0), border, border))
        view = planes[:, top : top + self.size, left : left + self.size]
        results["views"] = [np.ascontiguousarray(view)]
        results["geometry"] = geometry
        results["num_global"] = 1
        return results

    def draw(self, key: SampleKey, height: int, width: int) -> NDArray[np.float32]:
        """The geometry ``(1, 5)`` that this key gives in an image of that size.

        Raises:
            ValueError: the padded image is smaller than the view.
        """
        space = np.array([width, height]) + 2 * self.padding - self.size
        if space.min() < 0:
            raise ValueError(
                f"an image of {height} x {width} pixels with a border of {self.padding} is smaller than the "
                f"crop of {self.size}; lower size of mmrel.PaddedCrop, or use mmrel.MultiCrop, which resizes"
            )
        uniform = sample_generator(key, Purpose.CROPS).random(3)
        x, y = np.floor(uniform[:2] * (space + 1)) - self.padding
        flip = uniform[2] < self.flip_prob
        return np.array([[x, y, self.size, self.size, flip]], dtype=np.float32)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(size={self.size}, padding={self.padding}, "
            f"flip_prob={self.flip_prob})"
        )
