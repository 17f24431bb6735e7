"""Images in Arrow files, mapped into memory, where each is in reach."""

from typing import Any

from mmrel.datasets.sources.tables import TableSource, arrow_library, content


class ArrowSource(TableSource):
    """Images in Arrow files as ``Dataset.save_to_disk`` writes them, mapped into memory."""

    def read(self, index: int) -> bytes:
        """See :class:`ImageSource`."""
        file, row = self._place(index)
        return content(self._file(file).column(self.columns.image)[row], self.columns.nested)

    def _describe(self, number: int) -> tuple[Any, int]:
        table = self._file(number)
        return table.schema, table.num_rows

    def _labels(self, number: int) -> list[Any]:
        return list(self._file(number).column(self.columns.label).to_pylist())

    def _open(self, number: int) -> Any:
        arrow = arrow_library()
        mapped = arrow.memory_map(self.paths[number])
        try:
            return arrow.ipc.open_stream(mapped).read_all()
        except arrow.ArrowInvalid:  # the other of Arrow's two forms
            mapped.seek(0)
            return arrow.ipc.open_file(mapped).read_all()
