"""What tells one set of images from another, in a few bytes."""

import hashlib
import os

import numpy as np
from numpy.typing import NDArray

from mmrel.datasets.sources.base import ImageSource

MAX_SIZES = 100_000


def image_hash(source: ImageSource, positions: NDArray[np.int64], settings: str = "") -> str:
    """A hash of the sorted relative paths and of sizes; the same wherever the images lie.

    The sizes are those of all files, or of 100,000 spread evenly: what a file system answers slowly must not
    delay the start of a run. A file that is gone counts as one without size.

    Args:
        source: of the images.
        positions: which of them count.
        settings: whatever else must be the same.

    Returns:
        16 hexadecimal digits.
    """
    names = list(map(_normal, source.encoded_names(positions)))
    order = sorted(range(len(names)), key=names.__getitem__)
    step = max(1, -(-len(names) // MAX_SIZES))
    digest = hashlib.sha256()
    for rank, place in enumerate(order):
        size = source.size(int(positions[place])) if rank % step == 0 else b""
        digest.update(names[place] + b"\0" + size + b"\n")
    digest.update(settings.encode())
    return digest.hexdigest()[:16]


def _normal(name: bytes) -> bytes:
    """A relative path without detours, as a list may have them."""
    return os.path.normpath(name) if b"/." in name or b"//" in name or name[:1] == b"." else name
