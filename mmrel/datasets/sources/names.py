"""Millions of names in two NumPy arrays, which the processes of a loader share instead of copying."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import overload

import numpy as np
from numpy.typing import NDArray

CHUNK = 65_536
UPPER_TO_LOWER = np.arange(256, dtype=np.uint8)
UPPER_TO_LOWER[ord("A") : ord("Z") + 1] += 32
ENDING_LENGTH = 6
"""A dot within so many characters of the end of a name begins its ending."""


class PackedNames(Sequence[str]):
    """A sequence of texts, one after the other in one buffer.

    A list of Python texts takes some 100 bytes each, and the counter in every one of them is written to whenever it
    is looked at, so that each process of a loader comes to hold a copy. This takes the bytes of the names and 4 more
    each (8 from 4 GiB on), and reading does not write.

    Args:
        data: uint8, all names in UTF-8 (bytes of a file name that are none stay as they are).
        ends: where each name ends.
    """

    def __init__(self, data: NDArray[np.uint8], ends: NDArray[np.unsignedinteger]) -> None:
        self.data = data
        self.ends = ends

    @classmethod
    def pack(cls, names: Iterable[str]) -> "PackedNames":
        """Take up names, which may come from a generator."""
        blob = bytearray()
        lengths: list[NDArray[np.int64]] = []
        source = iter(names)
        while chunk := [os.fsencode(name) for name in islice(source, CHUNK)]:
            blob += b"".join(chunk)
            lengths.append(np.fromiter(map(len, chunk), np.int64, len(chunk)))
        ends = np.concatenate([*lengths, np.zeros(0, np.int64)]).cumsum()
        kind = np.uint32 if len(blob) < 1 << 32 else np.uint64
        return cls(np.frombuffer(blob, np.uint8), ends.astype(kind))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "PackedNames": ...
    def __getitem__(self, index: int | slice) -> "str | PackedNames":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"name {index} of {len(self)}")
        position = index % len(self)
        start = int(self.ends[position - 1]) if position else 0
        return os.fsdecode(self.data[start : int(self.ends[position])].tobytes())

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))

    def take(self, positions: NDArray[np.integer]) -> "PackedNames":
        """Some of the names, in the order of their positions."""
        return PackedNames.pack(self[int(position)] for position in positions)

    def encoded(self, positions: NDArray[np.integer]) -> list[bytes]:
        """Some of the names as bytes, all at once."""
        blob = self.data.tobytes()
        ends = self.ends[positions]
        starts = ends - self.lengths[positions]
        pairs = zip(starts.tolist(), ends.tolist(), strict=True)
        return [blob[start:end] for start, end in pairs]

    def ending_in(self, endings: Sequence[str]) -> NDArray[np.int64]:
        """Positions of the names with one of these endings, in any case, or with no ending at all."""
        found = ~self._has_character(".", ENDING_LENGTH)
        for ending in endings:
            found |= self._ends_in(ending.lower().encode())
        return np.flatnonzero(found)

    def _ends_in(self, ending: bytes) -> NDArray[np.bool_]:
        same = self.lengths >= len(ending)
        for back, wanted in enumerate(reversed(ending)):
            same &= UPPER_TO_LOWER[self._from_end(back)] == wanted
        return same

    def _has_character(self, character: str, within: int) -> NDArray[np.bool_]:
        found = np.zeros(len(self), dtype=bool)
        for back in range(within):
            found |= (self._from_end(back) == ord(character)) & (self.lengths > back)
        return found

    def _from_end(self, back: int) -> NDArray[np.uint8]:
        """The byte so many places before the last one of each name; of a shorter name, anything."""
        if not len(self.data):
            return np.zeros(len(self), np.uint8)
        place = np.minimum(self.ends - np.minimum(self.ends, back + 1), len(self.data) - 1)
        return self.data[place]

    @property
    def lengths(self) -> NDArray[np.integer]:
        """Bytes of each name."""
        return np.diff(self.ends, prepend=self.ends.dtype.type(0))


def joined(parts: Iterable[Iterable[str]]) -> PackedNames:
    """The names of several collections, one after the other."""
    return PackedNames.pack(chain.from_iterable(parts))
