"""Files that are whole or absent.

A file is written under another name in its folder, brought to the disk, and then renamed, which is atomic. A reader
sees the old content or the new one, also after a kill or a power failure at any moment.
"""

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any


def sync_path(path: Path) -> None:
    """Bring a file's content, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(temporary: Path, final: Path) -> None:
    """Give a complete file its name, atomically; both lie in one folder."""
    # Content before name: after a power failure a file system may have renamed what it has not yet
    # written.
    sync_path(temporary)
    temporary.replace(final)
    # The rename itself is an entry of the folder.
    sync_path(final.parent)


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Make a file of what ``write`` writes; whatever fails, an older file of that name stays as it was.

    Args:
        path: the file; its folder is made if it is missing.
        write: is given the open binary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("xb") as file:
            write(file)
        publish(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text_atomically(path: Path, text: str) -> None:
    """Make a UTF-8 file of a text, as :func:`write_atomically`."""
    write_atomically(path, lambda file: file.write(text.encode("utf-8")))


def read_json_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file that mmrel wrote; ``None`` if there is no file, or something else is in it."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def save_atomically(content: dict[str, Any], path: Path) -> None:
    """``torch.save``, as :func:`write_atomically`."""
    import torch

    write_atomically(path, lambda file: torch.save(content, file))
