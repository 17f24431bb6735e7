"""Labelled images as evaluations of frozen features read them: folders with one folder per class."""

import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, broadcast_object_list
from torch.utils.data import DataLoader

from mmrel.datasets.bad_samples import connect_bad_sample_log
from mmrel.datasets.folder_listing import class_folders
from mmrel.evaluation.loading import build_labelled_pair, build_loader, usual_workers
from mmrel.utils.text import listed

SPLITS = ("train", "val")


@dataclass(frozen=True)
class Reading:
    """How folders of images are read.

    Attributes:
        batch_size: images that are computed at once.
        workers: processes that read images; 0: this one; ``None``: one per core, at most 4.
        max_train: use at most so many images of the training folder, spread evenly.
        max_bad_fraction: share of unreadable files that is tolerated; one always is.
        bit_depth: significant bits of 16-bit values, as for ``mmrel.DecodeImage``.
        progress: is called with the number of images done and of all.
    """

    batch_size: int = 64
    workers: int | None = None
    max_train: int | None = None
    max_bad_fraction: float = 0.001
    bit_depth: int | str = "auto"
    progress: Callable[[int, int], None] | None = None


def split_folders(train: str | Path, val: str | Path | None = None) -> tuple[Path, Path | None]:
    """The folders to read: of a folder that holds splits, these.

    Args:
        train: folder with one folder of images per class; or one with ``train`` and ``val`` that hold such folders;
            or a file that ``mmrel.ImageFolder`` reads, with classes.
        val: likewise a folder of classes; ``None``: the split of ``train``, if it has one.

    Raises:
        FileNotFoundError: a folder is missing, or of two splits there is but one.
    """
    root = _existing(train)
    splits = {name: root / name for name in SPLITS if _has_folders(root / name)}
    if val is not None:
        return splits.get("train", root), _existing(val)
    if len(splits) == 1 and len(class_folders(str(root))) == 1:
        [(name, folder)] = splits.items()
        missing = next(split for split in SPLITS if split != name)
        raise FileNotFoundError(
            f"'{root}' has {name}/ but no {missing}/ with one folder per class; give the other folder too, or "
            f"'{folder}' alone, whose images are then classified by leaving one out"
        )
    if len(splits) == len(SPLITS):
        return splits["train"], splits["val"]
    return root, None


def labelled_loaders(
    train: Path, val: Path | None, transforms: list[dict[str, Any]], reading: Reading
) -> list[DataLoader]:
    """Ordered loaders of one or two folders, whose labels mean the same.

    Args:
        train: folder of classes, which says what a label means.
        val: another one, whose classes are found by name; or ``None``.
        transforms: config of what follows the decoding.
        reading: how they are read.

    Raises:
        FileNotFoundError: a folder is missing or holds no image in a class folder.
        UsageError: ``val`` has images of a class that ``train`` has none of.
        ValueError: ``train`` has images of one class only.
    """
    decode = dict(type="mmrel.DecodeImage", bit_depth=reading.bit_depth)
    settings = [
        dict(
            batch_size=reading.batch_size,
            num_workers=usual_workers() if reading.workers is None else reading.workers,
            dataset=dict(
                type="mmrel.ImageFolder",
                data_root=str(folder),
                with_label=True,
                max_bad_fraction=reading.max_bad_fraction,
                pipeline=[decode, *transforms],
            ),
        )
        for folder in (train, val)
        if folder is not None
    ]
    if val is None:
        loaders = [build_loader(settings[0], reading.max_train)]
    else:
        loaders = [*build_labelled_pair(settings[0], settings[1], reading.max_train)]
    _check_classes(loaders[0].dataset, train)
    return loaders


def _existing(folder: str | Path) -> Path:
    path = Path(folder).expanduser()
    if path.is_file():  # a list, an archive or a table, which says itself what it holds
        return path
    if not path.is_dir():
        raise FileNotFoundError(
            f"'{path}' does not exist (looked for {path.absolute()}); give a folder with one folder of images per class"
        )
    if not class_folders(str(path)):
        raise FileNotFoundError(
            f"'{path}' has no folders, so that nothing tells the classes of its images; give a folder with one "
            "folder of images per class"
        )
    return path


def _has_folders(folder: Path) -> bool:
    return folder.is_dir() and bool(class_folders(str(folder)))


def _check_classes(dataset: Any, folder: Path) -> None:
    if len(used := sorted(dataset.used_classes)) < 2:
        raise ValueError(
            f"'{folder}' has images of one class only ({listed(used)}), so that every answer would be right; give a "
            "folder with one folder of images per class, two or more"
        )


@contextmanager
def shared_list(loaders: list[DataLoader]) -> Iterator[Path]:
    """A list of unreadable files that all processes of a machine write, so that their number is limited as a whole.

    Args:
        loaders: whose data sets list theirs; each has its own limit.

    Returns:
        The file, if something is listed. It is removed at the end, unless by an error, whose message may name it.
    """
    run = [uuid.uuid4().hex]
    broadcast_object_list(run)
    path = Path(tempfile.gettempdir()) / f"mmrel-unreadable-{run[0]}.jsonl"
    for number, loader in enumerate(loaders):
        connect_bad_sample_log(loader.dataset, path, str(number))
    yield path
    barrier()
    path.unlink(missing_ok=True)
