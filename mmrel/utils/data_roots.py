"""Where a user says that the images are."""

import glob
from pathlib import Path

from mmrel.utils.errors import UsageError


def check_data_root(root: str) -> None:
    """Refuse what is not there; what it holds is looked at when the data set is built.

    Args:
        root: a local folder, file or pattern, a place inside an archive, or an address, which is not looked at.

    Raises:
        UsageError: it is missing, or a folder without files.
    """
    path = Path(root).expanduser()
    inside_file = any(parent.is_file() for parent in path.parents)  # of an archive
    if "://" in root or path.is_file() or inside_file:
        return
    if not path.is_dir() and not (glob.has_magic(root) and _found(str(path))):
        raise UsageError(
            f"data_root={root} is not a folder (looked for {path.absolute()}), nor a file of another kind that is "
            "read. Give a folder that holds the images, nested as you like; or a text file that lists them, a zip or "
            "tar archive, or Parquet or Arrow files."
        )
    if path.is_dir() and not any(found.is_file() for found in path.rglob("*")):
        raise UsageError(
            f"data_root={root} holds no files (looked in {path.absolute()} and below). "
            "Give a folder that holds the images, nested as you like."
        )


def _found(pattern: str) -> bool:
    return bool(glob.glob(pattern, recursive=True))  # noqa: PTH207
