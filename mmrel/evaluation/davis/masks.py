"""Between masks of object numbers, in pixels, and soft labels of patch tokens."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Mask = NDArray[np.uint8]

VOID = 255
"""Value of pixels that no annotation decides."""


def without_void(mask: Mask) -> Mask:
    """The mask with void pixels as background, as the semi-supervised task has them."""
    return np.where(mask == VOID, np.uint8(0), mask)


def first_labels(mask: Mask, grid: tuple[int, int]) -> Tensor:
    """One-hot labels of a first frame, float32 ``(K, h, w)``.

    Args:
        mask: object numbers, uint8 ``(H, W)``, 0 is background; K is the largest one plus 1.
        grid: rows and columns of tokens. The mask is resized to it, nearest; an object that falls between the tokens
            is lost.
    """
    small = resize_mask(mask, grid)
    labels = F.one_hot(torch.from_numpy(small).long(), int(mask.max()) + 1)
    return labels.permute(2, 0, 1).float()


def label_mask(labels: Tensor, patch_size: int, size: tuple[int, int]) -> Mask:
    """The mask of soft labels: object numbers, uint8 ``(H, W)``.

    Bilinear to pixels, each channel stretched to between 0 and 1, the largest wins, then nearest to the frame's size.

    Args:
        labels: ``(K, h, w)``, not negative.
        patch_size: pixels along a token's side.
        size: height and width of the frame.
    """
    pixels = F.interpolate(
        labels[None], scale_factor=patch_size, mode="bilinear", align_corners=False
    )[0]
    low = pixels.amin((1, 2), keepdim=True)
    span = pixels.amax((1, 2), keepdim=True) - low
    # A channel of one value cannot be stretched (the official normalisation makes it NaN); it stays as it is, so that
    # an object that fills the frame still wins over a background that is nowhere.
    stretched = torch.where(span > 0, (pixels - low) / span.where(span > 0, 1), pixels)
    winners: Mask = stretched.argmax(0).to(torch.uint8).cpu().numpy()
    return resize_mask(winners, size)


def resize_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """To a height and width by Pillow's nearest pixel, which is torch's ``nearest-exact``, not its ``nearest``."""
    height, width = size
    resized = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    return np.array(resized, np.uint8)
