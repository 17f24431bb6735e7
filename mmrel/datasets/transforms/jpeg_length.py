"""Whether the coded data of a JPEG file last exactly as long as its picture.

That is told by decoding again with some more and some fewer of them, which costs as much as decoding does; so only
where the picture or the bytes look suspicious.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmrel.datasets.transforms.jpeg_check import Scans

SURPLUS = bytes(range(1, 129))
SHORTAGE = 32
GRAY = (126, 130)


def check_length(
    data: bytes,
    scans: Scans,
    image: NDArray[Any],
    decode: Callable[[bytes], NDArray[Any]],
    last_corner: tuple[int, int] | None,
) -> None:
    """Compare the length of the coded data with the picture, if there is a reason to.

    Args:
        data: the file.
        scans: what :func:`check_structure` returned.
        image: the decoded picture, uint8 ``(H, W, 3)``.
        decode: as it was decoded, or a decoder that gives the same pixels.
        last_corner: row and column in it of the file's last pixel; ``None``: unknown.

    Raises:
        ValueError: the data end before the picture does, or go on after it.
    """
    end = scans.ends[-1]
    gray = last_corner is None or _is_gray(image[last_corner])
    if not gray and not scans.runs:
        return
    parts = [data[a:b] for a, b in zip((0, *scans.ends), (*scans.ends, None), strict=True)]
    longer = decode(SURPLUS.join(parts))
    if not np.array_equal(longer, image):
        raise ValueError("the file is cut or damaged: its coded data end before the picture does")
    if scans.progressive or gray or end - SHORTAGE <= scans.start:
        return
    shorter = decode(data[: end - SHORTAGE] + data[end:])
    if np.array_equal(shorter, image):
        raise ValueError("the file is damaged: its coded data go on after the picture's end")


def _is_gray(color: NDArray[np.uint8]) -> bool:
    """Whether a colour has the luminance of blocks without data."""
    red, green, blue = color.tolist()
    return bool(GRAY[0] < 0.299 * red + 0.587 * green + 0.114 * blue < GRAY[1])
