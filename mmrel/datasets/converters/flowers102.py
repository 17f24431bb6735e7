"""Oxford Flower-102."""

from collections.abc import Iterator
from pathlib import Path

from mmrel.datasets.converters.folders import Entry
from mmrel.datasets.converters.source import Source

SPLITS = {"train": "trnid", "val": "valid", "test": "tstid"}


def convert_flowers102(path: Path) -> Iterator[Entry]:
    """Entries of ``train``, ``val`` (1020 images each) and ``test``; the classes are ``001`` to ``102``."""
    source = Source(path, ("imagelabels.mat",), "Flower-102")
    labels = source.mat("imagelabels.mat")["labels"].ravel()
    numbers = source.mat("setid.mat")
    for split, key in SPLITS.items():
        for number in numbers[key].ravel().tolist():
            name = f"image_{number:05d}.jpg"
            yield Entry(split, f"{labels[number - 1]:03d}", name, source.read(f"jpg/{name}"))
