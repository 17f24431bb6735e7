"""What every source of images can do."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmrel.datasets.folder_listing import Listing, announce

NO_CLASS = -1
NO_FOLDERS = ("", ".", "..")
"""What an absolute path begins with, or one that leads out of where a list is."""


class Classes(NamedTuple):
    """The classes of a source's images.

    Attributes:
        names: in their order, also of classes without images.
        ids: int32 ``(N,)``, positions in ``names``; -1 for an image that has no class.
        numbers: the names are numbers that a list or a table gives, not words.
    """

    names: tuple[str, ...]
    ids: NDArray[np.int32]
    numbers: bool = False


class ImageSource(ABC):
    """N images that are listed once and read by their number.

    It is never changed after it is made, holds what is large in NumPy arrays, and opens files on first use in each
    process, so that a loader's workers share it, forked or spawned.

    Args:
        root: what the user gave, for messages and paths.
        listing: what was found beside the images.
    """

    plain_files = False
    """Whether :meth:`path` names a local file that anything can open."""

    def __init__(self, root: str, listing: Listing | None = None) -> None:
        self.root = root
        self.listing = listing or Listing()

    @abstractmethod
    def __len__(self) -> int:
        """N."""

    @abstractmethod
    def name(self, index: int) -> str:
        """An image's path relative to the root, with slashes; unlike all others."""

    @abstractmethod
    def read(self, index: int) -> bytes:
        """The content of an image's file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is damaged.
        """

    @abstractmethod
    def size(self, index: int) -> bytes:
        """What tells a changed file, for fingerprints: its size; empty where that would take reading it."""

    def path(self, index: int) -> str:
        """What to call an image in messages."""
        return f"{self.root.rstrip('/')}/{self.name(index)}"

    def classes(self) -> Classes:
        """The classes: by default the folders of the first level, sorted."""
        return first_folders(map(self.name, range(len(self))), len(self))

    def with_ending(self, endings: Sequence[str]) -> NDArray[np.int64]:
        """Positions of images whose names have one of these endings, or none."""
        return np.arange(len(self))

    def encoded_names(self, positions: NDArray[np.int64]) -> list[bytes]:
        """The names of some images, as bytes."""
        return [os.fsencode(self.name(int(position))) for position in positions]

    def announce(self, lying_loose: int = 0) -> None:
        """Log what was found beside the images.

        Args:
            lying_loose: images without a class, which are left out.
        """
        announce(self.root, self.listing, lying_loose)

    def __deepcopy__(self, memo: dict[int, Any]) -> "ImageSource":
        return self


def first_folders(names: Iterable[str], count: int, known: Iterable[str] = ()) -> Classes:
    """Classes by the first folder in each name.

    Args:
        names: of the images.
        count: how many.
        known: names of classes that may have no image.
    """
    found: dict[str, int] = {}
    ids = np.full(count, NO_CLASS, np.int32)
    for position, name in enumerate(names):
        folder, slash, _ = name.partition("/")
        if slash and folder not in NO_FOLDERS and not folder.endswith(":"):
            ids[position] = found.setdefault(folder, len(found))
    return sorted_classes({**found, **{name: NO_CLASS for name in known if name not in found}}, ids)


def sorted_classes(found: dict[str, int], ids: NDArray[np.int32], numbers: bool = False) -> Classes:
    """Classes numbered by their sorted names.

    Args:
        found: the number that ``ids`` has for each name, or -1.
        ids: int32 ``(N,)``.
        numbers: the names are numbers, and sorted as such.
    """
    names = sorted(found, key=int) if numbers else sorted(found)
    moved = np.full(len(found) + 1, NO_CLASS, np.int32)
    for position, name in enumerate(names):
        if found[name] != NO_CLASS:
            moved[found[name]] = position
    return Classes(tuple(names), moved[ids], numbers)
