"""Names of classes from a text file: one per line, with a colour where masks are coloured."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmrel.datasets.annotations.instances import check_class_names
from mmrel.utils.errors import UsageError

FILES = ("class_names.txt", "classes.txt", "labels.txt", "label_colors.txt")
IGNORE_LINE = "__ignore__"
COLOR = r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})"
BEFORE, AFTER = re.compile(rf"{COLOR}[\s,]+(.+)"), re.compile(rf"(.+?)[\s,:]+{COLOR}")


@dataclass(frozen=True)
class ClassList:
    """Names by number or colour.

    Attributes:
        path: the file.
        names: the name of each value in masks: number, or colour as 0xRRGGBB.
        colored: whether the values are colours.
    """

    path: Path
    names: Mapping[int, str]
    colored: bool


def find_class_list(root: Path) -> Path | None:
    """The list beside the data, or one folder above it."""
    places = [folder / name for folder in (root, root.parent) for name in FILES]
    return next((path for path in places if path.is_file()), None)


def read_class_list(path: Path) -> ClassList:
    """A list of names.

    Line k, counted from 0, names the value k; a first line ``__ignore__`` (LabelMe's) does not count. Where each
    line has three numbers before or after the name, they are its colour.

    Raises:
        UsageError: the file cannot be read, is empty, or names are missing or clash.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The list of classes {path} cannot be read as UTF-8 text: {error}."
        ) from error
    lines = [
        line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")
    ]
    if lines[:1] == [IGNORE_LINE]:
        lines = lines[1:]
    if not lines:
        raise UsageError(f"The list of classes {path} is empty; write one name per line.")
    colored = [_colored(line) for line in lines]
    found = [entry for entry in colored if entry is not None]
    names = dict(found) if len(found) == len(lines) else dict(enumerate(lines))
    check_class_names(names.values(), path)
    if len(set(names.values())) < len(lines):
        raise UsageError(f"{path} has a name or a colour twice; each class needs its own.")
    return ClassList(path, names, all(colored))


def _colored(line: str) -> tuple[int, str] | None:
    if match := BEFORE.fullmatch(line):
        numbers, name = match.groups()[:3], match[4]
    elif match := AFTER.fullmatch(line):
        numbers, name = match.groups()[1:], match[1]
    else:
        return None
    red, green, blue = map(int, numbers)
    return (red << 16) + (green << 8) + blue, name.strip()
