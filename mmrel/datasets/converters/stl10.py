"""STL-10, the binary version."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmrel.datasets.converters.folders import Entry
from mmrel.datasets.converters.source import Source

SHAPE = (3, 96, 96)


def convert_stl10(path: Path) -> Iterator[Entry]:
    """Entries of ``train``, ``test`` and, without labels, ``unlabeled``. Images are stored column by column."""
    source = Source(path, ("train_X.bin",), "STL-10")
    classes = source.lines("class_names.txt")
    for split in ("train", "test", "unlabeled"):
        images = source.array(f"{split}_X.bin").reshape(-1, *SHAPE)
        labels: list[str | None] = [None] * len(images)
        if split != "unlabeled":
            labels = [classes[number - 1] for number in source.array(f"{split}_y.bin").tolist()]
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield Entry(split, label, f"{i:06d}", np.ascontiguousarray(image.transpose(2, 1, 0)))
