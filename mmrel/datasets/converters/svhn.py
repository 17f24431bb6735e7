"""SVHN, cropped digits (format 2)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmrel.datasets.converters.folders import Entry
from mmrel.datasets.converters.source import Source

FILE = "{}_32x32.mat"
TEN = 10


def convert_svhn(path: Path) -> Iterator[Entry]:
    """Entries of ``train``, ``test`` and, if its file is there, ``extra``; the classes are ``0`` to ``9``."""
    source = Source(path, (FILE.format("train"),), "SVHN")
    splits = ["train", "test", *(["extra"] if FILE.format("extra") in source.files else [])]
    for split in splits:
        arrays = source.mat(FILE.format(split))
        images, labels = arrays["X"], arrays["y"].ravel()
        for i, label in enumerate(labels.tolist()):
            pixels = np.ascontiguousarray(images[..., i])
            yield Entry(split, str(label % TEN), f"{i:06d}", pixels)
