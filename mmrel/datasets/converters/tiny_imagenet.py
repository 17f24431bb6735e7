"""Tiny-ImageNet (200 classes of 64 pixels): its validation images lie in one folder, with a list of labels."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mmrel.datasets.converters.folders import Entry
from mmrel.datasets.converters.source import Source, WrongLayoutError

ANNOTATIONS = "val/val_annotations.txt"


def convert_tiny_imagenet(path: Path) -> Iterator[Entry]:
    """Entries of ``train`` and ``val``; the classes are the WordNet numbers. The test images have no labels."""
    source = Source(path, (ANNOTATIONS,), "Tiny-ImageNet")
    train = sorted(file for file in source.files if file.startswith("train/"))
    images = [file for file in train if PurePosixPath(file).parent.name == "images"]
    if not images:
        raise WrongLayoutError(
            f"Tiny-ImageNet: expected {source.root}train/<class>/images/*.JPEG in {path}, beside "
            f"{source.root}{ANNOTATIONS}; there are none. Complete the download"
        )
    for file in images:
        parts = PurePosixPath(file).parts
        yield Entry("train", parts[1], parts[-1], source.read(file))
    for line in source.lines(ANNOTATIONS):
        name, label = line.split("\t")[:2]
        yield Entry("val", label, name, source.read(f"val/images/{name}"))
