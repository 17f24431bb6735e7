"""Stanford Cars, in either of the two forms that it was published in."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mmrel.datasets.converters.folders import Entry
from mmrel.datasets.converters.source import Source

TOGETHER = "cars_annos.mat"
DEVKIT = {
    "train": "devkit/cars_train_annos.mat",
    "test": "devkit/cars_test_annos_withlabels.mat",
}


def convert_cars(path: Path) -> Iterator[Entry]:
    """Entries of ``train`` (8144 images) and ``test`` (8041); the classes are ``001`` to ``196``."""
    source = Source(path, (TOGETHER, DEVKIT["train"]), "Stanford Cars")
    if source.anchor == TOGETHER:
        for record in _records(source, TOGETHER):
            split = "test" if record["test"].item() else "train"
            yield _entry(source, split, record, record["relative_im_path"].item())
        return
    for split, file in DEVKIT.items():
        # In some archives the labels of the test images lie beside the devkit.
        beside = PurePosixPath(file).name
        found = beside if file not in source.files and beside in source.files else file
        for record in _records(source, found):
            yield _entry(source, split, record, f"cars_{split}/{record['fname'].item()}")


def _records(source: Source, file: str) -> Any:
    return source.mat(file)["annotations"].ravel()


def _entry(source: Source, split: str, record: Any, image: str) -> Entry:
    label = f"{int(record['class'].item()):03d}"
    return Entry(split, label, PurePosixPath(image).name, source.read(image))
