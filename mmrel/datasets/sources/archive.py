"""Images in zip and tar archives, one or many, read where they are."""

import struct
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmrel.datasets.folder_listing import Listing
from mmrel.datasets.sources.base import (
    NO_CLASS,
    Classes,
    ImageSource,
    first_folders,
    sorted_classes,
)
from mmrel.datasets.sources.files import IsImage
from mmrel.datasets.sources.member_cache import listed_members
from mmrel.datasets.sources.members import DEFLATED, REASONS, SMALL, Member, inflate
from mmrel.datasets.sources.names import PackedNames, joined
from mmrel.datasets.sources.shards import Shards

LOCAL_HEADER = struct.Struct("<4s22xHH")
RECORD = np.dtype(
    [("offset", "i8"), ("stored", "i4"), ("size", "i4"), ("crc", "u4"), ("method", "i1")]
)
LABEL_ENDING = ".cls"


class Contents(NamedTuple):
    """The images of one archive, sorted by their names.

    Attributes:
        names: of the N images.
        records: of type :data:`RECORD`, ``(N,)``.
        labels: classes by WebDataset's key, as its ``.cls`` files say.
    """

    names: PackedNames
    records: NDArray[np.void]
    labels: dict[str, str]


class ArchiveSource(ImageSource):
    """Images in archives, sorted by their names within each.

    With labels, a class is the first folder within an archive; or, in WebDataset's form, what the file ``key.cls``
    beside ``key.jpg`` says.

    Args:
        root: what the user gave.
        paths: of the archives.
        names: what to call each of them within ``root``; empty for a single one.
        is_image: whether a file counts, by its name.
        inside: of the archives, only what is below this folder.

    Raises:
        UsageError: one is damaged or cannot be read.
    """

    def __init__(
        self,
        root: str,
        paths: Sequence[str],
        names: Sequence[str],
        is_image: IsImage,
        inside: str = "",
    ) -> None:
        super().__init__(root, Listing())
        self.shards = Shards(paths)
        self.shard_names = tuple(names)
        contents = [self._contents(i, is_image, inside) for i in range(len(paths))]
        self.names = (
            contents[0].names if len(paths) == 1 else joined(part.names for part in contents)
        )
        self.records = np.concatenate([part.records for part in contents])
        self.ends = np.cumsum([len(part.records) for part in contents])
        self._labels = _label_ids(contents) if any(part.labels for part in contents) else None

    def __len__(self) -> int:
        return len(self.records)

    def name(self, index: int) -> str:
        """The archive's name, if there are several, and the file's in it."""
        shard = self.shard_names[self._shard(index)]
        return f"{shard}/{self.names[index]}" if shard else self.names[index]

    def read(self, index: int) -> bytes:
        """See :class:`ImageSource`."""
        record = self.records[index]
        shard, offset, size = self._shard(index), int(record["offset"]), int(record["size"])
        if (method := int(record["method"])) in REASONS:
            raise ValueError(REASONS[method])
        if method < 0:  # tar
            return self.shards.read(shard, offset, size)
        # The header before the content repeats the directory's, but may be longer.
        head = self.shards.read(shard, offset, LOCAL_HEADER.size)
        magic, name_length, extra_length = LOCAL_HEADER.unpack(head)
        if magic != b"PK\x03\x04":
            raise ValueError("it is damaged in the archive: there is no header at its place")
        place = offset + LOCAL_HEADER.size + name_length + extra_length
        data = self.shards.read(shard, place, int(record["stored"]))
        data = inflate(data, size) if method == DEFLATED else data
        if zlib.crc32(data) != int(record["crc"]):
            raise ValueError("it is damaged in the archive: its checksum is another one")
        return data

    def size(self, index: int) -> bytes:
        """See :class:`ImageSource`."""
        return str(self.records[index]["size"]).encode()

    def classes(self) -> Classes:
        """See the class."""
        return self._labels or first_folders(self.names, len(self))

    def with_ending(self, endings: Sequence[str]) -> NDArray[np.int64]:
        """See :class:`ImageSource`."""
        return self.names.ending_in(endings)

    def _shard(self, index: int) -> int:
        return int(np.searchsorted(self.ends, index, side="right"))

    def _contents(self, shard: int, is_image: IsImage, inside: str) -> Contents:
        names: list[str] = []
        rows: list[array[int]] = [array("q") for _ in RECORD.names or ()]
        labels: dict[str, str] = {}
        prefix = f"{inside.strip('/')}/" if inside else ""
        for member in listed_members(self.shards.paths[shard]):
            name = member.name.removeprefix(prefix)
            if (prefix and name == member.name) or _is_hidden(name):
                continue
            if is_image(name):
                names.append(name)
                for row, value in zip(rows, member[1:], strict=True):
                    row.append(value)
            elif name.endswith(LABEL_ENDING) and member.method < 0 and member.size <= SMALL:
                labels[_key(name)] = self._text(shard, member)
            else:
                self.listing.skipped[Path(name).suffix.lower() or "without ending"] += 1
        order = _last_of_each(names)
        records = np.empty(len(order), RECORD)
        for column, row in zip(RECORD.names or (), rows, strict=True):
            records[column] = np.frombuffer(row, np.int64)[order] if order else 0
        return Contents(PackedNames.pack(names[i] for i in order), records, labels)

    def _text(self, shard: int, member: Member) -> str:
        data = self.shards.read(shard, member.offset, member.size)
        return data.decode("utf-8", "replace").strip()


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or "/." in name


def _last_of_each(names: list[str]) -> list[int]:
    """Positions by sorted names; of files of the same name the last one counts, as unpacking has it."""
    order = sorted(range(len(names)), key=lambda i: (names[i], i))
    pairs = zip(order, [*order[1:], None], strict=True)
    return [i for i, after in pairs if after is None or names[i] != names[after]]


def _key(name: str) -> str:
    """WebDataset's key: what comes before the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _label_ids(contents: Sequence[Contents]) -> Classes:
    found: dict[str, int] = {}
    ids = [
        found.setdefault(label, len(found)) if label else NO_CLASS for label in _labels(contents)
    ]
    return sorted_classes(found, np.array(ids, np.int32), all(map(str.isdecimal, found)))


def _labels(contents: Sequence[Contents]) -> Iterator[str]:
    for part in contents:
        yield from (part.labels.get(_key(name), "") for name in part.names)
