"""Byte ranges of large files, read by their places from any number of processes."""

import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

MAX_OPEN = 64
"""Files that a process holds open; system limits are mostly 1,024."""


class Shards:
    """Files that are opened on first use, in each process by itself.

    Reading gives the place along with the call (``pread``), so that processes and threads that share an open file do
    not disturb each other.

    Args:
        paths: of the files.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)
        self.sizes = tuple(os.stat(path).st_size for path in paths)  # noqa: PTH116
        self._open: OrderedDict[int, int] = OrderedDict()

    def read(self, shard: int, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset`` on.

        Raises:
            OSError: the file cannot be read, or is another one than when it was listed.
            ValueError: it ends before.
        """
        file = self._file(shard)
        parts: list[bytes] = []
        while count > 0:
            part = os.pread(file, count, offset)
            if not part:
                raise ValueError(f"{self.paths[shard]} ends within this image")
            parts.append(part)
            offset += len(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _file(self, shard: int) -> int:
        file = self._open.get(shard)
        if file is not None:
            self._open.move_to_end(shard)
            return file
        file = os.open(self.paths[shard], os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        if os.fstat(file).st_size != self.sizes[shard]:
            os.close(file)
            raise OSError(
                f"{self.paths[shard]} has changed since it was listed; start the run again"
            )
        while len(self._open) >= MAX_OPEN:
            os.close(self._open.popitem(last=False)[1])
        self._open[shard] = file
        return file

    def close(self) -> None:
        """Close what is open; reading opens it again."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def __del__(self) -> None:
        if "_open" in self.__dict__:
            self.close()
