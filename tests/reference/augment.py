"""The colour augmentation of one image by torchvision, one operation after the other."""

import numpy as np
import torchvision.transforms.v2.functional as tv
from torch import Tensor

from mmrel.ops.color_table import JITTER_ORDERS, ColorColumn


def augment_image(image: Tensor, row: np.ndarray, kernel_size: int) -> Tensor:
    """Apply one row of the colour table to one image.

    Args:
        image: float ``(3, h, w)`` in [0, 1].
        row: ``(columns,)``.
        kernel_size: of the blur.

    Returns:
        The augmented image.
    """
    jitter = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
    values = [float(value) for value in row]
    if values[:4] != [1.0, 1.0, 1.0, 0.0]:
        for operation in JITTER_ORDERS[int(values[ColorColumn.ORDER])]:
            image = jitter[operation](image, values[operation])
    if values[ColorColumn.GRAYSCALE]:
        image = tv.rgb_to_grayscale(image, 3)
    if values[ColorColumn.BLUR_SIGMA]:
        image = tv.gaussian_blur(image, kernel_size, values[ColorColumn.BLUR_SIGMA])
    if values[ColorColumn.SOLARIZE] < 256:
        image = tv.solarize(image, values[ColorColumn.SOLARIZE] / 255)
    return image
