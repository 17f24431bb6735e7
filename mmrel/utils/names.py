"""Names that come from data and become paths: one check for all of them.

A class name in a list, a member of an archive, a line of an annotation file may hold ``..``, begin at the root, or be
something that another system takes for a device. Joined to a folder unchecked, it writes, or reads, outside of it.
"""

import unicodedata
from collections.abc import Iterable

MAX_BYTES = 255
DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(10))}
SEPARATORS = "/\\"


def checked_name(name: object, what: str) -> str:
    """A name that is one file or folder in the folder that it is joined to, on every system.

    Args:
        name: as the data has it.
        what: what it names and where, for the error: ``"class 3 of batches.meta.txt"``.

    Raises:
        ValueError: it is no text, empty, over 255 bytes long, a step to another folder, or has a separator of
            folders, a control character, a colon, or a blank or a dot at its end, or is a device of Windows.
    """
    if problem := _problem(name):
        raise ValueError(
            f"The name of {what} is {str(name)[:80]!r}, which {problem}. It becomes a path; correct it in the data."
        )
    return str(name)


def leads_down(path: str) -> bool:
    """Whether a path to read, joined to a folder, stays below it; its names may be any that exist."""
    return (
        bool(path) and "\0" not in path and not path.startswith("/") and ".." not in path.split("/")
    )


def check_distinct(names: Iterable[str], what: str) -> None:
    """Raise ``ValueError`` where two names are one on a file system that takes upper and lower case for the same."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise ValueError(
                f"Two names of {what}, {other!r} and {name!r}, differ in nothing but case or the writing of accents: "
                "on some file systems they are one folder. Rename one of them in the data."
            )


def _problem(name: object) -> str:
    if not isinstance(name, str):
        return f"is a {type(name).__name__}, not a text"
    if not name.strip(" ."):
        return "is empty or a step to another folder"
    if any(separator in name for separator in SEPARATORS):
        return "has a separator of folders"
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name):
        return "has a control character"
    if ":" in name or name[-1] in " .":
        return "has a colon, or ends with a blank or a dot"
    if name.split(".")[0].rstrip().casefold() in DEVICES:
        return "is a device of Windows"
    if len(name.encode()) > MAX_BYTES:
        return f"is over {MAX_BYTES} bytes long"
    return ""
