"""CIFAR-10 and CIFAR-100: the binary version, or the Python version read without running anything in it."""

import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmrel.datasets.converters.folders import Entry
from mmrel.datasets.converters.source import Source, WrongLayoutError
from mmrel.utils.plain_names import TABLE
from mmrel.utils.plain_pickle import BoundedReader, ForbiddenNameError, load_pickle

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))


class Variant(NamedTuple):
    """Where a data set keeps what; the byte before the pixels that is the label, and the pickle's key for it."""

    name: str
    splits: dict[str, tuple[str, ...]]
    binary_names: str
    binary_label: int
    binary_labels: int
    python_names: str
    names_key: bytes
    labels_key: bytes


CIFAR10 = Variant(
    name="CIFAR-10",
    splits={"train": BATCHES, "test": ("test_batch",)},
    binary_names="batches.meta.txt",
    binary_label=0,
    binary_labels=1,
    python_names="batches.meta",
    names_key=b"label_names",
    labels_key=b"labels",
)
CIFAR100 = Variant(
    name="CIFAR-100",
    splits={"train": ("train",), "test": ("test",)},
    binary_names="fine_label_names.txt",
    binary_label=1,
    binary_labels=2,
    python_names="meta",
    names_key=b"fine_label_names",
    labels_key=b"fine_labels",
)

Batch = tuple[NDArray[np.uint8], list[int]]


def convert_cifar(variant: Variant, path: Path) -> Iterator[Entry]:
    """Entries of ``train`` and ``test``."""
    source = Source(path, (variant.binary_names, variant.python_names), variant.name)
    if source.anchor == variant.binary_names:
        classes = source.lines(variant.binary_names)
        read: Callable[[str], Batch] = partial(_read_binary, source, variant)
    else:
        meta = load_plain(source.read(variant.python_names), variant.python_names)
        classes = [name.decode() for name in meta[variant.names_key]]
        read = partial(_read_python, source, variant)
    for split, files in variant.splits.items():
        for file in files:
            images, labels = read(file)
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                pixels = image.reshape(SHAPE).transpose(1, 2, 0)
                name = f"{file}_{i:05d}"
                yield Entry(split, classes[label], name, np.ascontiguousarray(pixels))


def _read_binary(source: Source, variant: Variant, file: str) -> Batch:
    record = variant.binary_labels + PIXELS
    values = source.array(f"{file}.bin")
    if len(values) % record:
        raise WrongLayoutError(
            f"{variant.name}: {file}.bin has {len(values)} bytes, which is no multiple of the {record} of one "
            "image; download it again"
        )
    rows = values.reshape(-1, record)
    return rows[:, variant.binary_labels :], rows[:, variant.binary_label].tolist()


def _read_python(source: Source, variant: Variant, file: str) -> Batch:
    batch = load_plain(source.read(file), file)
    return batch[b"data"], batch[variant.labels_key]


def load_plain(content: bytes, file: str) -> Any:
    """Read a pickle of arrays and plain types; anything else in it is refused.

    Raises:
        WrongLayoutError: it holds something else, or is damaged.
    """
    try:
        reader = BoundedReader(io.BytesIO(content), len(content))
        return load_pickle(reader, TABLE, encoding="bytes")
    except Exception as error:  # whatever a damaged or crafted file provokes
        raise WrongLayoutError(
            f"{file} is not a file of CIFAR's Python version ({_told(error)}); nothing in it was run. Download the "
            "binary version"
        ) from error


def _told(error: Exception) -> str:
    if isinstance(error, ForbiddenNameError):
        return f"it names {error.name}"
    return str(error) or type(error).__name__
