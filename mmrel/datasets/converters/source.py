"""Reading the original files of a data set, from a folder or straight from an archive."""

import tarfile
import zipfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_LISTED = 8
MAX_TEXT = 2**26
"""Bytes of a list of images or classes."""


class WrongLayoutError(ValueError):
    """A file that belongs to a data set is not where it should be."""


class Source:
    """The files of one data set; they may lie some folders deep.

    Args:
        path: a folder, or a ``.tar``, ``.tar.gz``, ``.tgz`` or ``.zip`` archive. Archives are read, not extracted.
        anchors: files that tell where the data set begins and, if there are several, which form it has; relative to
            its beginning. The first one that is found counts.
        name: what the data set is called in errors.

    Attributes:
        anchor: the anchor that was found.

    Raises:
        WrongLayoutError: no anchor is there.
    """

    def __init__(self, path: Path, anchors: Sequence[str], name: str) -> None:
        self.path = path
        self.name = name
        if path.is_dir():
            self.sizes, self._read = _open_folder(path)
        elif zipfile.is_zipfile(path):
            self.sizes, self._read = _open_zip(path)
        elif path.is_file() and tarfile.is_tarfile(path):
            self.sizes, self._read = _open_tar(path)
        else:
            what = "neither a folder nor an archive" if path.exists() else "missing"
            raise WrongLayoutError(
                f"{path} is {what}; give the folder or the archive that holds {name} ({' or '.join(anchors)})"
            )
        self.anchor, self.root = self._locate(list(self.sizes), anchors)
        self.files = {
            file.removeprefix(self.root) for file in self.sizes if file.startswith(self.root)
        }

    def read(self, file: str) -> bytes:
        """The content of a file.

        Raises:
            WrongLayoutError: there is no such file.
        """
        if file not in self.files:
            raise WrongLayoutError(
                f"{self.name}: expected {self.root}{file[:200]} in {self.path}, beside {self.root}{self.anchor}; it is "
                "not there. Complete the download"
            )
        return self._read(self.root + file)

    def array(self, file: str) -> NDArray[np.uint8]:
        """The bytes of a file as numbers; a file in a folder stays on the disk."""
        if self.path.is_dir() and file in self.files:
            return np.memmap(self.path / self.root / file, mode="r")
        return np.frombuffer(self.read(file), dtype=np.uint8)

    def lines(self, file: str) -> list[str]:
        """The lines of a text file that are not empty; the errors are those of :meth:`numbered_lines`."""
        return [line for _, line in self.numbered_lines(file)]

    def numbered_lines(self, file: str) -> list[tuple[int, str]]:
        """The lines of a text file that are not empty, with their numbers from 1 on.

        Raises:
            WrongLayoutError: there is no such file, or it is no text of at most 64 MB.
        """
        if self.sizes.get(self.root + file, 0) > MAX_TEXT:
            raise WrongLayoutError(
                f"{self.name}: {file} is over {MAX_TEXT} bytes long; it is no list"
            )
        try:
            text = self.read(file).decode()
        except UnicodeDecodeError as error:
            raise WrongLayoutError(
                f"{self.name}: {self.root}{file} in {self.path} is no text: {error}. Download it again"
            ) from error
        return [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]

    def mat(self, file: str) -> dict[str, Any]:
        """The arrays of a MATLAB file.

        Raises:
            ModuleNotFoundError: SciPy is not installed.
        """
        try:
            from scipy.io import loadmat
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"{self.name} comes as MATLAB files, which SciPy reads: pip install scipy"
            ) from error
        return loadmat(BytesIO(self.read(file)))

    def _locate(self, files: list[str], anchors: Sequence[str]) -> tuple[str, str]:
        for anchor in anchors:
            found = [file for file in files if f"/{file}".endswith(f"/{anchor}")]
            if found:
                return anchor, min(found, key=len).removesuffix(anchor)
        listed = ", ".join(sorted(files)[:MAX_LISTED]) or "nothing"
        raise WrongLayoutError(
            f"{self.name}: expected {' or '.join(anchors)} in {self.path}, at any depth; found {listed}"
            f"{', ...' if len(files) > MAX_LISTED else ''}. Give the folder or the archive as it was downloaded"
        )


Opened = tuple[dict[str, int], Callable[[str], bytes]]


def _open_folder(path: Path) -> Opened:
    files = [file for file in path.rglob("*") if file.is_file()]
    sizes = {file.relative_to(path).as_posix(): file.stat().st_size for file in files}
    return sizes, lambda file: (path / file).read_bytes()


def _open_zip(path: Path) -> Opened:
    archive = zipfile.ZipFile(path)
    records = [record for record in archive.infolist() if not record.is_dir()]
    return {record.filename: record.file_size for record in records}, archive.read


def _open_tar(path: Path) -> Opened:
    archive = tarfile.open(path)  # noqa: SIM115  # the returned function reads from it

    def read(file: str) -> bytes:
        member = archive.extractfile(file)
        assert member is not None, "only regular files are listed"
        return member.read()

    return {member.name: member.size for member in archive.getmembers() if member.isfile()}, read
