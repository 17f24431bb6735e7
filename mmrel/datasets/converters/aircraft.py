"""FGVC-Aircraft, by variant."""

from collections.abc import Iterator
from pathlib import Path

from mmrel.datasets.converters.folders import Entry
from mmrel.datasets.converters.source import Source


def convert_aircraft(path: Path) -> Iterator[Entry]:
    """Entries of ``trainval`` (6667 images) and ``test`` (3333); in class names, a slash becomes a hyphen."""
    source = Source(path, ("images_variant_trainval.txt",), "FGVC-Aircraft")
    for split in ("trainval", "test"):
        for line in source.lines(f"images_variant_{split}.txt"):
            image, variant = line.split(maxsplit=1)
            name = f"{image}.jpg"
            yield Entry(
                split, variant.strip().replace("/", "-"), name, source.read(f"images/{name}")
            )
