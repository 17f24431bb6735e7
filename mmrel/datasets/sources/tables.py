"""Images in the columns of Parquet and Arrow files, as Hugging Face `datasets` writes them.

A column ``image`` holds the content of image files, as bytes or as a struct of ``bytes`` and ``path``; a column
``label`` holds a number, whose names stand in the file's metadata, or a text. The library `datasets` is not needed,
pyarrow is (``pip install mmrel[parquet]``).
"""

import json
import os
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmrel.datasets.sources.base import NO_CLASS, Classes, ImageSource, sorted_classes
from mmrel.utils.errors import UsageError
from mmrel.utils.text import listed

KEPT_FILES = 16
LABEL_NAMES = ("label", "labels", "fine_label", "class", "target")


def arrow_library() -> Any:
    """The package pyarrow.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            f"reading Parquet and Arrow files needs pyarrow, which is not installed ({error}); run "
            "`pip install 'mmrel[parquet]'`"
        ) from error
    return pyarrow


class Columns(NamedTuple):
    """What of a table is read.

    Attributes:
        image: the column of images.
        nested: it is a struct with a field ``bytes``.
        label: the column of classes, or ``None``.
        class_names: what its numbers stand for, or ``None``.
    """

    image: str
    nested: bool
    label: str | None
    class_names: tuple[str, ...] | None


def find_columns(schema: Any, path: str) -> Columns:
    """The columns of images and of labels.

    Args:
        schema: of pyarrow.
        path: of the file, for messages.

    Raises:
        UsageError: no column holds images.
    """
    arrow = arrow_library()
    features = _features(schema)
    kinds = {field.name: field.type for field in schema}

    def holds_bytes(kind: Any) -> bool:
        return bool(arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))

    nested = [n for n, kind in kinds.items() if _bytes_field(kind, holds_bytes)]
    plain = [n for n, kind in kinds.items() if holds_bytes(kind)]
    marked = [n for n in nested + plain if features.get(n, {}).get("_type") == "Image"]
    images = marked or nested or plain
    if not images:
        told = listed([f"{name} ({kind})" for name, kind in kinds.items()])
        raise UsageError(
            f"{path} has no column of images: wanted one of bytes, or of a struct with a field `bytes`, found {told}. "
            "Columns that hold paths of files are read from a list: write the paths into a text file, one a line."
        )
    image = "image" if "image" in images else images[0]
    label = next((n for n in LABEL_NAMES if n in kinds), None)
    names = features.get(label, {}).get("names") if label else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return Columns(image, image in nested, label, None)
    return Columns(image, image in nested, label, tuple(names))


def _bytes_field(kind: Any, holds_bytes: Any) -> bool:
    arrow = arrow_library()
    if not arrow.types.is_struct(kind):
        return False
    return any(
        f.name == "bytes" and holds_bytes(f.type) for f in map(kind.field, range(kind.num_fields))
    )


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """What `datasets` notes on the columns; empty if it did not write the file."""
    try:
        noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = noted["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    plain = isinstance(features, dict)
    return {k: v for k, v in features.items() if isinstance(v, dict)} if plain else {}


class TableSource(ImageSource):
    """What Parquet and Arrow files share: rows of several files, one after the other.

    Args:
        root: what the user gave.
        paths: of the files.
        names: what to call each of them within ``root``; empty for a single one.

    Raises:
        UsageError: a file is damaged, or has no column of images.
    """

    def __init__(self, root: str, paths: Sequence[str], names: Sequence[str]) -> None:
        super().__init__(root)
        self.paths = tuple(paths)
        self.file_names = tuple(names)
        self.sizes = tuple(Path(path).stat().st_size for path in paths)
        self._opened: OrderedDict[int, Any] = OrderedDict()
        self._process = os.getpid()
        arrow_library()
        rows = []
        for number, path in enumerate(paths):
            try:
                schema, count = self._describe(number)
            except Exception as error:  # pyarrow's errors have no base of their own
                raise UsageError(
                    f"{path} cannot be read as a table: {type(error).__name__}: {str(error)[:300]}. Copy it again from "
                    "where it came, or leave it out."
                ) from error
            columns = find_columns(schema, path)
            if number == 0:
                self.columns = columns
            elif columns != self.columns:
                raise UsageError(
                    f"{path} has other columns than {paths[0]} ({columns} and {self.columns}); give files of one "
                    "data set, or several data sets as data_root=[/a,/b]"
                )
            rows.append(count)
        self.ends = np.cumsum(rows)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def name(self, index: int) -> str:
        """The file's name and the row's number in it, from 0."""
        file, row = self._place(index)
        return f"{self.file_names[file]}/{row}" if self.file_names[file] else str(row)

    def size(self, index: int) -> bytes:
        """The size of the file that has the row."""
        return str(self.sizes[self._place(index)[0]]).encode()

    def classes(self) -> Classes:
        """By the column of labels."""
        label, names = self.columns.label, self.columns.class_names
        if label is None:
            return Classes((), np.full(len(self), NO_CLASS, np.int32))
        values = [value for number in range(len(self.paths)) for value in self._labels(number)]
        if names is not None:
            ids = [v if isinstance(v, int) and 0 <= v < len(names) else NO_CLASS for v in values]
            return Classes(names, np.array(ids, np.int32))
        found: dict[str, int] = {}
        ids = [
            NO_CLASS if value is None else found.setdefault(str(value), len(found))
            for value in values
        ]
        return sorted_classes(found, np.array(ids, np.int32), all(map(str.isdecimal, found)))

    @abstractmethod
    def _describe(self, number: int) -> tuple[Any, int]:
        """A file's schema and number of rows."""

    @abstractmethod
    def _labels(self, number: int) -> list[Any]:
        """The labels in a file."""

    @abstractmethod
    def _open(self, number: int) -> Any:
        """Open a file."""

    def _place(self, index: int) -> tuple[int, int]:
        file = int(np.searchsorted(self.ends, index, side="right"))
        return file, index - (int(self.ends[file - 1]) if file else 0)

    def _file(self, number: int) -> Any:
        """A file that this process has opened."""
        if self._process != os.getpid():  # what a parent opened cannot be read by two
            self._forget()
            self._process = os.getpid()
        if number not in self._opened:
            while len(self._opened) >= KEPT_FILES:
                self._opened.popitem(last=False)
            self._opened[number] = self._open(number)
        self._opened.move_to_end(number)
        return self._opened[number]

    def _forget(self) -> None:
        self._opened = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": OrderedDict()}


def content(value: Any, nested: bool) -> bytes:
    """The bytes of a cell.

    Raises:
        ValueError: it holds none.
    """
    data = value.as_py()
    found = data.get("bytes") if nested and isinstance(data, dict) else data
    if not isinstance(found, bytes):
        raise ValueError(
            "the row holds no bytes of an image; if it holds a path, embed the images when the table is written"
        )
    return found
