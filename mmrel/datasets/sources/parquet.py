"""Images in Parquet files, which are read by row groups.

A group is decompressed as a whole to get at one image; those that were read last are kept.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmrel.datasets.sources.tables import TableSource, arrow_library, content

KEPT_BYTES = 256 << 20
"""Of row groups that a process keeps, once read."""


class ParquetSource(TableSource):
    """Images in Parquet files."""

    def __init__(self, root: str, paths: Sequence[str], names: Sequence[str]) -> None:
        self.group_ends: list[Any] = [None] * len(paths)
        self._groups: OrderedDict[tuple[int, int], Any] = OrderedDict()
        super().__init__(root, paths, names)

    def read(self, index: int) -> bytes:
        """See :class:`ImageSource`."""
        file, row = self._place(index)
        ends = self.group_ends[file]
        group = int(np.searchsorted(ends, row, side="right"))
        first = int(ends[group - 1]) if group else 0
        return content(self._group(file, group)[row - first], self.columns.nested)

    def _group(self, file: int, group: int) -> Any:
        """The images of a row group."""
        opened = self._file(file)
        if (file, group) not in self._groups:
            table = opened.read_row_group(group, [self._bytes_column], use_threads=False)
            self._groups[file, group] = table.column(0)
            while len(self._groups) > 1 and self._kept() > KEPT_BYTES:
                self._groups.popitem(last=False)
        self._groups.move_to_end((file, group))
        return self._groups[file, group]

    @property
    def _bytes_column(self) -> str:
        return f"{self.columns.image}.bytes" if self.columns.nested else self.columns.image

    def _kept(self) -> int:
        return sum(column.nbytes for column in self._groups.values())

    def _describe(self, number: int) -> tuple[Any, int]:
        opened = self._file(number)
        metadata = opened.metadata
        rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self.group_ends[number] = np.cumsum(rows)
        return opened.schema_arrow, metadata.num_rows

    def _labels(self, number: int) -> list[Any]:
        table = self._file(number).read([self.columns.label], use_threads=False)
        return list(table.column(0).to_pylist())

    def _open(self, number: int) -> Any:
        # Mapped into memory, a file that is cut would end the process instead of raising an error.
        return arrow_library().parquet.ParquetFile(self.paths[number], memory_map=False)

    def _forget(self) -> None:
        super()._forget()
        self._groups = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_groups": OrderedDict()}
