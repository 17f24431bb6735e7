"""Images that are files of their own: below a folder, named by a list, or in storage that MMEngine's backends reach."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.fileio import get_file_backend
from numpy.typing import NDArray

from mmrel.datasets.folder_listing import Listing, class_folders, list_files
from mmrel.datasets.sources.base import Classes, ImageSource, first_folders
from mmrel.datasets.sources.names import PackedNames
from mmrel.utils.errors import UsageError

IsImage = Callable[[str], bool]
BackendArgs = dict[str, Any] | None


class FileSource(ImageSource):
    """Files by their names.

    Args:
        root: what the names are relative to.
        names: of the files; absolute ones and addresses (``s3://...``) stay as they are.
        listing: what was found beside them.
        backend_args: of MMEngine's file backend; ``None``: by the address.
    """

    def __init__(
        self,
        root: str,
        names: Iterable[str],
        listing: Listing | None = None,
        backend_args: BackendArgs = None,
    ) -> None:
        super().__init__(root, listing)
        self.names = names if isinstance(names, PackedNames) else PackedNames.pack(names)
        self.backend_args = backend_args
        self.plain_files = backend_args is None and "://" not in root
        self._backends: dict[str, Any] = {}
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """See :class:`ImageSource`."""
        return self.names[index]

    def path(self, index: int) -> str:
        """Where the file is."""
        name = self.names[index]
        return name if "://" in name else os.path.join(self.root, name)  # noqa: PTH118

    def read(self, index: int) -> bytes:
        """See :class:`ImageSource`."""
        path = self.path(index)
        data = self._storage(path).get(path)
        if data is None:  # what LMDB answers
            raise FileNotFoundError("there is no such file")
        return bytes(data)

    def size(self, index: int) -> bytes:
        """See :class:`ImageSource`; ``gone`` for a file that is not there any more."""
        path = self.path(index)
        if not self.plain_files or "://" in path:
            return b""
        try:
            # Path would take as long as the call itself.
            return str(os.stat(path).st_size).encode()  # noqa: PTH116
        except OSError:
            return b"gone"

    def encoded_names(self, positions: NDArray[np.int64]) -> list[bytes]:
        """See :class:`ImageSource`."""
        return self.names.encoded(positions)

    def with_ending(self, endings: Sequence[str]) -> NDArray[np.int64]:
        """See :class:`ImageSource`."""
        return self.names.ending_in(endings)

    def _storage(self, path: str) -> Any:
        """The backend, made anew in each process: a connection does not survive a fork."""
        if self._process != os.getpid():
            self._backends, self._process = {}, os.getpid()
        prefix = path.partition("://")[0] if "://" in path else ""
        if prefix not in self._backends:
            self._backends[prefix] = get_file_backend(path, backend_args=self.backend_args)
        return self._backends[prefix]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_backends": {}}


class FolderSource(FileSource):
    """The images below a local folder, sorted by their paths.

    Args:
        root: the folder.
        is_image: whether a file counts, by its name.

    Raises:
        OSError: a folder cannot be read.
    """

    def __init__(self, root: str, is_image: IsImage) -> None:
        listing = list_files(root, is_image)
        names = PackedNames.pack(listing.images)
        super().__init__(root, names, Listing([], listing.skipped, listing.dead))

    def classes(self) -> Classes:
        """The folders of the first level, also those without images."""
        known = [name for name in class_folders(self.root) if name not in self.listing.dead]
        return first_folders(self.names, len(self), known)


def remote_folder(root: str, is_image: IsImage, backend_args: BackendArgs) -> FileSource:
    """The images below an address, sorted, listed by MMEngine's backend for it.

    Args:
        root: such as ``s3://bucket/photos``, or a path that ``backend_args`` explain.
        is_image: whether a file counts, by its name.
        backend_args: see :class:`FileSource`.

    Raises:
        UsageError: the backend is unknown, or cannot list.
    """
    backend = storage_of(root, backend_args)
    if not hasattr(backend, "list_dir_or_file"):
        raise UsageError(
            f"data_root={root}: {type(backend).__name__} reads files but cannot list them. Write their paths into a "
            "text file, one a line, and give that file as data_root."
        )
    listing = Listing()
    found: list[str] = []
    for name in backend.list_dir_or_file(root, list_dir=False, list_file=True, recursive=True):
        if any(part.startswith(".") for part in name.split("/")):
            continue
        if is_image(name):
            found.append(name)
        else:
            listing.skipped[Path(name).suffix.lower() or "without ending"] += 1
    return FileSource(root, sorted(found), listing, backend_args)


def storage_of(root: str, backend_args: BackendArgs) -> Any:
    """MMEngine's backend for an address.

    Raises:
        UsageError: there is none, or it lacks a package.
    """
    try:
        return get_file_backend(root, backend_args=backend_args)
    except (KeyError, AssertionError, TypeError, ValueError, ImportError) as error:
        raise UsageError(
            f"data_root={root} with backend_args={backend_args} leads to no storage: {error}. Give backend_args of a "
            "registered MMEngine backend, such as dict(backend='petrel'), and install what it needs."
        ) from error
