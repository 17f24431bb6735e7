"""Where the files of large archives begin, kept from one run to the next.

Reading all headers of a tar archive takes some 50 seconds for a million files, and every process needs them.
"""

import hashlib
import os
import zipfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmrel.datasets.sources.members import Member, members
from mmrel.datasets.sources.names import PackedNames
from mmrel.utils.files import write_atomically

MIN_MEMBERS = 20_000
"""Of archives that are worth a file in the cache."""

COLUMNS = Member._fields[1:]


def listed_members(path: str) -> Iterable[Member]:
    """The files in an archive, see :func:`members`, from the cache if the archive is as it was.

    The cache is ``$XDG_CACHE_HOME/mmrel/archives``, by default in ``~/.cache``; it may be deleted at any time.

    Raises:
        UsageError: it is no archive, or is damaged.
    """
    place = _place(path)
    if place.is_file() and (kept := _read(place)) is not None:
        return kept
    names: list[str] = []
    numbers = array("q")
    for member in members(path):
        names.append(member.name)
        numbers.extend(member[1:])
    columns = np.array(numbers, np.int64).reshape(-1, len(COLUMNS))
    if len(names) >= MIN_MEMBERS:
        _write(place, names, columns)
    return _joined(names, columns)


def _place(path: str) -> Path:
    """A file of the cache, whose name changes with the archive."""
    status = Path(path).stat()
    identity = f"1 {Path(path).resolve()} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return root / "mmrel" / "archives" / f"{name}.npz"


def _read(place: Path) -> Iterator[Member] | None:
    try:
        with np.load(place, allow_pickle=False) as kept:
            names = PackedNames(kept["data"], kept["ends"])
            columns = kept["columns"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        print_log(f"{place} cannot be used and is made anew: {error}", "current")
        return None
    if columns.shape != (len(names), len(COLUMNS)) or names.lengths.sum() != len(names.data):
        return None
    return _joined(names, columns)


def _joined(names: Sequence[str], columns: NDArray[np.int64]) -> Iterator[Member]:
    for name, row in zip(names, columns, strict=True):
        yield Member(name, *row.tolist())


def _write(place: Path, names: Sequence[str], columns: NDArray[np.int64]) -> None:
    packed = PackedNames.pack(names)
    arrays: dict[str, Any] = {"data": packed.data, "ends": packed.ends, "columns": columns}
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, lambda file: np.savez(file, **arrays))
    except OSError as error:
        print_log(f"where archives' files begin is not kept for the next run: {error}", "current")
