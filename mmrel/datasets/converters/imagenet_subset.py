"""Some classes of ImageNet, as links to its class folders: ImageNet-100."""

from collections.abc import Iterator
from pathlib import Path

from mmrel.datasets.converters.folders import Entry
from mmrel.datasets.converters.source import WrongLayoutError
from mmrel.utils.names import checked_name

SPLITS = ("train", "val")
MAX_LISTED = 5


def convert_imagenet_subset(path: Path, classes: Path | None) -> Iterator[Entry]:
    """Entries of ``train`` and ``val``, one link per class.

    Args:
        path: ImageNet, ``train/<class>/*`` and ``val/<class>/*``.
        classes: a text file that names one class folder per line, such as ``n01440764``.

    Raises:
        WrongLayoutError: a folder is missing, or no list of classes was given.
    """
    if classes is None or not classes.is_file():
        raise WrongLayoutError(
            f"the list of classes is {classes}; give a text file with one class folder per line with --classes"
        )
    names = list(
        dict.fromkeys(
            line.split()[0] for line in classes.read_text("utf-8").splitlines() if line.strip()
        )
    )
    for name in names:
        checked_name(name, f"a class in {classes}")
    missing = [
        f"{split}/{name}"
        for split in SPLITS
        for name in names
        if not (path / split / name).is_dir()
    ]
    if missing or not names:
        listed = ", ".join(missing[:MAX_LISTED]) or "no class at all"
        raise WrongLayoutError(
            f"expected the {len(names)} class folders of {classes} as {path}/train/<class> and "
            f"{path}/val/<class>; missing {listed}{', ...' if len(missing) > MAX_LISTED else ''} "
            f"({len(missing)} in all). Sort the validation images into class folders first"
        )
    for split in SPLITS:
        for name in names:
            yield Entry(split, None, name, path / split / name)
