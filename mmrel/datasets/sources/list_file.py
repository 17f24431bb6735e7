"""Images that a text file lists: a path a line, and perhaps a class.

    # photos of the 2nd of May; blank lines and lines that begin with # do not count
    2024/IMG_0001.jpg
    /mnt/b/with blanks too.png
    2024/IMG_0002.jpg cat
    2024/IMG_0003.jpg<TAB>tabby cat

A path is relative to the folder that the list is in, or absolute, or an address (``s3://...``). A class follows a tab,
or the last blank if what comes before it ends as an image does. A ``.csv`` file has the path in its first column and
the class in its second, with or without a line of titles.
"""

import csv
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import StringIO, TextIOWrapper
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from mmrel.datasets.sources.base import NO_CLASS, Classes, sorted_classes
from mmrel.datasets.sources.files import BackendArgs, FileSource, IsImage, storage_of
from mmrel.datasets.sources.names import PackedNames
from mmrel.utils.errors import UsageError
from mmrel.utils.text import listed

ENDINGS = (".txt", ".lst", ".list", ".csv", ".tsv")
MAX_CHECKED = 100_000
"""Files of a longer list are looked for at so many places, spread evenly; storage may answer slowly."""

Allowed = Callable[[int], int]
"""From the number of images to how many of them may be unreadable."""


@dataclass
class Entries:
    """What the lines of a list say.

    Attributes:
        found: the number that ``ids`` has for each class.
        ids: of each image; -1 without a class.
        gaps: ``(image, lines)``: from which image on how many lines before it were none.
    """

    found: dict[str, int] = field(default_factory=dict)
    ids: list[int] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)

    def line_of(self, index: int) -> int:
        """The number of an image's line, from 1."""
        return index + 1 + next((n for first, n in reversed(self.gaps) if first <= index), 0)


class ListSource(FileSource):
    """The files that a list names.

    Args:
        path: of the list; local, or an address.
        is_image: whether a file name ends as an image's.
        allowed: how many files may be missing; they are then met again, and replaced, when they are read.
        backend_args: of MMEngine's backend for the list and for what it names.

    Raises:
        UsageError: it names no image, a line cannot be used, or more files than allowed are not there.
    """

    def __init__(
        self, path: str, is_image: IsImage, allowed: Allowed, backend_args: BackendArgs = None
    ) -> None:
        self.list_file = path
        remote = "://" in path or backend_args is not None
        entries = Entries()
        folder = path.rpartition("/")[0] or ("/" if path.startswith("/") else "")
        try:
            with _opened(path, backend_args if remote else None, remote) as lines:
                names = PackedNames.pack(_entries(path, lines, is_image, entries))
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}); a list of images has a path a "
                "line, and perhaps a class after a tab"
            ) from error
        super().__init__(folder, names, backend_args=backend_args)
        if not len(names):
            raise UsageError(f"{path} names no image: write a path in each line")
        self._classes = sorted_classes(
            entries.found, np.array(entries.ids, np.int32), all(map(str.isdecimal, entries.found))
        )
        if self.plain_files:
            self._check_files(entries, allowed)

    def classes(self) -> Classes:
        """Those that the list names; without any, the folders of the first level, as of a folder."""
        return self._classes if self._classes.names else super().classes()

    def _check_files(self, entries: Entries, allowed: Allowed) -> None:
        count = min(len(self), MAX_CHECKED)
        places = np.linspace(0, len(self) - 1, count).round().astype(int).tolist()
        missing = [place for place in places if not self._is_there(place, entries)]
        if not missing:
            return
        lines = listed([f"line {entries.line_of(i)}: {self.name(i)[:200]}" for i in missing])
        told = f"{len(missing)} of {len(places)} files that {self.list_file} names are not there ({lines})"
        if len(missing) > allowed(len(places)):
            raise UsageError(
                f"{told}; paths are relative to {self.root or 'where you are'}, or absolute. Correct the list, or "
                "allow more unreadable files by max_bad_fraction or min_bad_allowed of the data set."
            )
        print_log(f"{told}; other images take their places", "current", logging.WARNING)

    def _is_there(self, index: int, entries: Entries) -> bool:
        path = self.path(index)
        if "://" in path:
            return True
        if Path(path).is_dir():
            raise UsageError(
                f"line {entries.line_of(index)} of {self.list_file} names the folder {path[:200]}; a list names "
                "images. Several folders or archives are given as data_root=[/a,/b]."
            )
        return Path(path).is_file()


def _opened(path: str, backend_args: BackendArgs, remote: bool) -> TextIOWrapper | StringIO:
    if remote:
        data = storage_of(path, backend_args).get(path)
        return StringIO(bytes(data).decode("utf-8-sig"), newline="")
    return Path(path).open(encoding="utf-8-sig", newline="")


def _entries(path: str, lines: Iterable[str], is_image: IsImage, entries: Entries) -> Iterator[str]:
    """The images' paths; what else the lines say goes to ``entries``."""
    rows = _table if path.lower().endswith(".csv") else _lines
    ignored = 0
    for number, row in rows(lines, is_image):
        if row is None:
            ignored += 1
            continue
        name, label = row
        if not name or "\0" in name:
            raise UsageError(f"line {number} of {path} has no path of an image: {name[:80]!r}")
        if ignored != (entries.gaps[-1][1] if entries.gaps else 0):
            entries.gaps.append((len(entries.ids), ignored))
        entries.ids.append(
            entries.found.setdefault(label, len(entries.found)) if label else NO_CLASS
        )
        yield name.removeprefix("./")


Row = tuple[str, str] | None


def _lines(lines: Iterable[str], is_image: IsImage) -> Iterator[tuple[int, Row]]:
    """Number of each line, and its path and class, or ``None`` if it says nothing."""
    for number, line in enumerate(lines, start=1):
        text = line.strip(" \r\n")
        if not text.strip() or text.startswith("#"):
            yield number, None
            continue
        name, tab, label = text.partition("\t")
        if not tab and not is_image(text):
            name, _, label = text.rpartition(" ")
            name, label = (name, label) if is_image(name.rstrip()) else (text, "")
        yield number, (name.rstrip(), label.strip())


def _table(lines: Iterable[str], is_image: IsImage) -> Iterator[tuple[int, Row]]:
    for number, cells in enumerate(csv.reader(lines), start=1):
        titles = number == 1 and cells and not is_image(cells[0].strip())
        if not any(cells) or cells[0].startswith("#") or titles:
            yield number, None
        else:
            yield number, (cells[0].strip(), cells[1].strip() if len(cells) > 1 else "")
