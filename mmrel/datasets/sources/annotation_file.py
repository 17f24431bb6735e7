"""Some files of a folder, as mmpretrain's ``ann_file`` lists them: a path a line, with labels the class's number."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from mmengine.fileio import list_from_file
from numpy.typing import NDArray

from mmrel.datasets.sources.files import BackendArgs, FileSource
from mmrel.utils.names import leads_down


class AnnotatedSource(FileSource):
    """Files below a folder, with the numbers of their classes.

    Args:
        root: the folder.
        names: of the files.
        labels: int32 ``(N,)``, or ``None``.
        backend_args: see :class:`FileSource`.
    """

    def __init__(
        self,
        root: str,
        names: Iterable[str],
        labels: NDArray[np.int32] | None,
        backend_args: BackendArgs = None,
    ) -> None:
        super().__init__(root, names, backend_args=backend_args)
        self.labels = labels


def read_annotation_file(
    root: str, ann_file: str, with_label: bool, backend_args: BackendArgs = None
) -> AnnotatedSource:
    """The files that a list names, which must lie in the folder.

    Args:
        root: the folder.
        ann_file: the list.
        with_label: each line ends with a number, after a blank.
        backend_args: see :class:`FileSource`.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: a line leads out of the folder, or is no path with its label.
    """
    entry = f"a path below {root!r}"
    entry += " and the number of its class" if with_label else ""
    if "://" not in ann_file and not Path(ann_file).is_file():
        raise FileNotFoundError(
            f"there is no list of images at {ann_file!r}: write {entry} in each line, or correct ann_file in the "
            "data set's config"
        )
    names: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(list_from_file(ann_file), start=1):
        path, _, label = line.strip().rpartition(" ") if with_label else (line, "", "0")
        if not leads_down(path) or not label.isdecimal():
            raise ValueError(
                f"line {number} of {ann_file} is {line[:80]!r}; wanted {entry}, without '..'"
            )
        names.append(path)
        labels.append(int(label))
    found = np.array(labels, np.int32) if with_label else None
    return AnnotatedSource(root, names, found, backend_args)
