"""A frame as the protocol shows it to a backbone."""

import cv2
import numpy as np

from mmrel.datasets.transforms.pixel_values import ByteImage
from mmrel.utils.normalization import IMAGENET, Normalization

SHORT_SIDE, MULTIPLE = 480, 64
STRONG_SHRINKING = 2

NORMALIZATION = Normalization(IMAGENET.mean, (0.228 * 255, *IMAGENET.std[1:]))
"""Of the published protocol: ImageNet's, but for .228 where it has .229."""


def frame_normalization(own: Normalization | None) -> Normalization:
    """How frames are normalised: as the published protocol does, unless the weights were trained otherwise.

    Weights of ImageNet's mean and deviation, as DINO's, iBOT's and SelfPatch's are, and weights that do not tell get
    the protocol's; all others their own.

    Args:
        own: the backbone's.
    """
    if own is None or np.allclose(own, IMAGENET, atol=0.01):
        return NORMALIZATION
    return own


def frame_size(height: int, width: int, patch_size: int, size: int = SHORT_SIDE) -> tuple[int, int]:
    """Height and width that a frame is resized to, whole patches both.

    At the protocol's 480 pixels, and for patches that divide 64, the long side is rounded down to a multiple of 64:
    480x854 becomes 480x832. For other sizes and patches both sides are rounded to the nearest patch.

    Args:
        height: of the frame.
        width: of the frame.
        patch_size: side of a patch in pixels.
        size: short side to aim at.

    Raises:
        ValueError: the frame, or ``size``, is smaller than a patch.
    """
    short, long = min(height, width), max(height, width)
    if min(short, size) < patch_size:
        raise ValueError(
            f"a frame of {height}x{width} pixels at size {size} is smaller than a patch of {patch_size}; give larger "
            f"frames, and a size of at least {patch_size}"
        )
    if size == SHORT_SIDE and MULTIPLE % patch_size == 0:
        sides = size, max(long * size // short // MULTIPLE, 1) * MULTIPLE
    else:
        rows, cols = (max(round(side * size / short / patch_size), 1) for side in (short, long))
        sides = rows * patch_size, cols * patch_size
    return sides if height <= width else sides[::-1]


def resize_frame(frame: ByteImage, size: tuple[int, int]) -> ByteImage:
    """Resize as the published protocol does: bilinear by OpenCV, without a filter against aliasing.

    A frame that is shrunk to half or less, which the 480p frames of DAVIS never are, is averaged over areas instead.

    Args:
        frame: uint8 ``(H, W, 3)``.
        size: height and width.
    """
    if frame.shape[:2] == size:
        return frame
    shrinking = min(frame.shape[0] / size[0], frame.shape[1] / size[1])
    method = cv2.INTER_AREA if shrinking >= STRONG_SHRINKING else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, size[::-1], interpolation=method), np.uint8)
