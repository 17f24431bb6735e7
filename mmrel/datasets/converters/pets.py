"""Oxford-IIIT Pets."""

from collections.abc import Iterator
from pathlib import Path

from mmrel.datasets.converters.folders import Entry
from mmrel.datasets.converters.source import Source


def convert_pets(path: Path) -> Iterator[Entry]:
    """Entries of ``trainval`` (3680 images) and ``test`` (3669); the classes are the 37 breeds."""
    source = Source(path, ("annotations/trainval.txt",), "Oxford-IIIT Pets")
    for split in ("trainval", "test"):
        for line in source.lines(f"annotations/{split}.txt"):
            image = line.split()[0]
            breed = image.rpartition("_")[0]
            yield Entry(split, breed, f"{image}.jpg", source.read(f"images/{image}.jpg"))
