"""The baseline that needs no network: images shrunk to thumbnails."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def _thumbnail(image: str | Path | NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    if isinstance(image, (str, Path)):
        with Image.open(image) as opened:
            whole = opened.convert("RGB")
    else:
        whole = Image.fromarray(image).convert("RGB")
    small = whole.resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel() / np.float32(255)


def thumbnail_features(
    images: Iterable[str | Path | NDArray[np.uint8]], size: int = 16
) -> NDArray[np.float32]:
    """Pixels of the thumbnails as features, to compare a network's k-NN accuracy with.

    Args:
        images: files, or uint8 RGB arrays ``(H, W, 3)``; sizes may differ.
        size: side of a thumbnail in pixels, at least 1.

    Returns:
        float32 ``(n, size * size * 3)`` in [0, 1].

    Raises:
        ValueError: if size is smaller than 1 or there are no images.
    """
    if size < 1:
        raise ValueError(f"size is {size}, but a thumbnail needs at least 1 pixel. Pass 16.")
    rows = [_thumbnail(image, size) for image in images]
    if not rows:
        raise ValueError("images holds 0 images, but at least 1 is needed. Check the folder.")
    return np.stack(rows)
