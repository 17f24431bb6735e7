"""Writing class folders: ``OUT/<split>/<class>/<file>``."""

import io
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmrel.utils.names import check_distinct, checked_name


class Entry(NamedTuple):
    """One image, or one folder that is linked.

    Attributes:
        split: ``'train'``, ``'val'``, ``'test'``, ...
        label: name of the class folder; ``None``: there are no labels.
        name: file name; a name without ending for an array of pixels, which becomes a PNG file.
        content: uint8 pixels ``(H, W, 3)``, the content of an image file, or a path to link to.
    """

    split: str
    label: str | None
    name: str
    content: NDArray[np.uint8] | bytes | Path


def write_class_folders(entries: Iterable[Entry], out: Path) -> dict[str, int]:
    """Write all entries; the folder appears complete or not at all.

    Args:
        entries: of any order.
        out: folder to write; it must not exist.

    Returns:
        Number of entries in each split.

    Raises:
        FileExistsError: ``out`` exists.
        ValueError: a name of a class or an image is no name of one folder or file, or two differ in case alone.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists; remove it, or give another folder to write")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    counts: Counter[str] = Counter()
    labels: dict[str, None] = {}
    try:
        for entry in entries:
            _write(entry, partial)
            counts[entry.split] += 1
            if entry.label is not None and entry.label not in labels:
                labels[entry.label] = None
                check_distinct(labels, "classes")
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return dict(counts)


def _write(entry: Entry, root: Path) -> None:
    name = checked_name(entry.name, f"an image of {entry.split}")
    folder = root / entry.split
    if entry.label is not None:
        folder = folder / checked_name(entry.label, f"a class of {entry.split}")
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(entry.content, Path):
        (folder / name).symlink_to(entry.content.resolve())
    elif isinstance(entry.content, bytes):
        (folder / name).write_bytes(entry.content)
    else:
        buffer = io.BytesIO()
        Image.fromarray(entry.content).save(buffer, "PNG")
        (folder / f"{name}.png").write_bytes(buffer.getvalue())
