"""CUB-200-2011: birds."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mmrel.datasets.converters.folders import Entry
from mmrel.datasets.converters.source import Source

SPLITS = {"1": "train", "0": "test"}


def convert_cub(path: Path) -> Iterator[Entry]:
    """Entries of ``train`` (5994 images) and ``test`` (5794); the classes are the folders of the original."""
    source = Source(path, ("train_test_split.txt",), "CUB-200-2011")
    images = dict(line.split() for line in source.lines("images.txt"))
    for line in source.lines("train_test_split.txt"):
        number, is_train = line.split()
        image = PurePosixPath(images[number])
        content = source.read(f"images/{image}")
        yield Entry(SPLITS[is_train], image.parent.name, image.name, content)
