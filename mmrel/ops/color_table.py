"""The table of colour parameters that travels from the loader to the device, one row per view.

A row says everything that happens to one crop's colours; neutral values mean "not applied", so a
table has no separate flags. The operations are applied from left to right: the four jitter
operations in the order given by ``ORDER``, then grey, blur and solarisation (the order of DINO,
arXiv 2104.14294, and BYOL).
"""

from enum import IntEnum
from itertools import permutations

import numpy as np
from numpy.typing import NDArray


class ColorColumn(IntEnum):
    """Columns of the table; the comment gives the unit and the neutral value."""

    BRIGHTNESS = 0  # factor >= 0; 1 is neutral
    CONTRAST = 1  # factor >= 0; 1 is neutral
    SATURATION = 2  # factor >= 0; 1 is neutral
    HUE = 3  # shift as a share of the colour circle, in [-0.5, 0.5]; 0 is neutral
    ORDER = 4  # row of JITTER_ORDERS, 0 to 23
    GRAYSCALE = 5  # 1 applies, 0 is neutral
    BLUR_SIGMA = 6  # standard deviation in pixels; 0 is neutral
    SOLARIZE = 7  # threshold on the 0-255 scale; values at or above it are inverted; 256 is neutral


NEUTRAL_ROW = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 256.0)

JITTER_ORDERS: NDArray[np.int64] = np.array(list(permutations(range(4))))
"""``(24, 4)``: which jitter operation (a column number, 0 to 3) comes first, second, ..."""


def neutral_table(views: int) -> NDArray[np.float32]:
    """Table ``(views, columns)`` that changes nothing."""
    return np.tile(np.array(NEUTRAL_ROW, dtype=np.float32), (views, 1))
