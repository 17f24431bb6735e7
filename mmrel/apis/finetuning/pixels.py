"""Masks for mmseg: index masks and their lists, to train on and to judge by."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmrel.apis.choices import Choice
from mmrel.apis.finetuning.data import PreparedData, common_root, describe_classes, some_sizes
from mmrel.apis.finetuning.objects import split_objects, used_classes
from mmrel.apis.finetuning.sources import Source
from mmrel.apis.finetuning.split import draw_split
from mmrel.datasets.annotations.class_list import find_class_list, read_class_list
from mmrel.datasets.annotations.instances import InstanceSet
from mmrel.datasets.annotations.labelme import BACKGROUND, IGNORE
from mmrel.datasets.annotations.mask_classes import survey
from mmrel.datasets.annotations.mask_pairs import MaskPairs
from mmrel.datasets.annotations.semantic import (
    SemanticSet,
    from_instances,
    from_masks,
    write_semantic,
)
from mmrel.utils.errors import UsageError
from mmrel.utils.text import listed
from mmrel.visualization.segmentations import voc_palette

Progress = Callable[[int, int], None]
Parts = tuple[SemanticSet, SemanticSet, tuple[Choice, ...], tuple[str, ...]]


def prepare_pixels(
    source: Source, folder: Path, workers: int, progress: Progress, names: Path | None = None
) -> PreparedData:
    """Write ``train.json``, ``val.json`` and ``masks/`` into a folder.

    Args:
        source: what the user gave.
        folder: to write to.
        workers: loader processes.
        progress: is called with the number of masks done and of all.
        names: list of class names; ``None``: the one beside the masks, if there is one.

    Raises:
        UsageError: the data do not tell two classes or more.
    """
    train, val, choices, warnings = (
        _of_masks(source, names, progress)
        if isinstance(source.train, MaskPairs)
        else _of_objects(source)
    )
    if len(train.classes) < 2:
        raise UsageError(
            f"{train.source} has one class alone, {train.classes[0]!r}, so that every answer would be right. Masks "
            "need a value for the rest as well: 0 for the background, 1 for the class."
        )
    root = common_root(train.images)
    pixels = write_semantic(train, folder, "train", root, progress)
    held = write_semantic(val, folder, "val", root, progress)
    warnings += _about_classes(train.classes, pixels, held)
    form = Choice("data", train.form, str(train.source))
    return PreparedData(
        source=f"{train.form}: {train.source}",
        root=root,
        train_file=folder / "train.json",
        val_file=folder / "val.json",
        classes=train.classes,
        palette=train.palette or voc_palette(len(train.classes)),
        sizes=some_sizes(train.images),
        num_train=len(train.images),
        choices=(form, *choices, describe_classes(train.classes, pixels.tolist(), "pixels")),
        warnings=warnings,
        workers=workers,
    )


def _of_masks(source: Source, names: Path | None, progress: Progress) -> Parts:
    whole, val = source.train, source.val
    if not isinstance(whole, MaskPairs) or not isinstance(val, MaskPairs | None):
        raise UsageError("Training data are masks, but --val is not. Give both in one form.")
    held = () if val is None else val.pairs
    coding = survey((*whole.pairs, *held), progress)
    path = names or find_class_list(whole.root)
    classes = None if path is None else read_class_list(path)
    present = [frozenset(str(value) for value in own - coding.ignored) for own in coding.present]
    if val is None:
        train_at, val_at, images = draw_split(present, whole.root)
        data = from_masks(whole, coding, classes)
        parts = data.subset(train_at), data.subset(val_at)
    else:
        numbers = f"{len(whole.pairs)} + {len(val.pairs)}"
        images = Choice("images", numbers, "to train on and to judge by, as the data or --val say")
        parts = from_masks(whole, coding, classes), from_masks(val, coding, classes)
    why = coding.reason + ("" if path is None else f"; named by {path}")
    notes = dict.fromkeys((*whole.notes, *(() if val is None else val.notes)))
    return *parts, (images, Choice("masks", f"{len(coding.values)} values", why)), tuple(notes)


def _of_objects(source: Source) -> Parts:
    whole, val = source.train, source.val
    if not isinstance(whole, InstanceSet) or not isinstance(val, InstanceSet | None):
        raise UsageError("Training data are objects, but --val are masks. Give both in one form.")
    train, held, images = split_objects(whole, val)
    classes, warnings = used_classes(train, held)
    also = (BACKGROUND, IGNORE)
    painted, judged = (from_instances(part.of_classes(classes, also)) for part in (train, held))
    notes = dict.fromkeys((*whole.notes, *held.notes, *warnings))
    return painted, judged, (images,), tuple(notes)


def _about_classes(
    classes: tuple[str, ...], pixels: np.ndarray, held: np.ndarray
) -> tuple[str, ...]:
    notes = []
    if lost := [name for name, count in zip(classes, pixels, strict=True) if not count]:
        notes.append(
            f"no training mask has a pixel of {listed(lost)}: this can be neither learnt nor predicted rightly"
        )
    if absent := [name for name, count in zip(classes, held, strict=True) if not count]:
        notes.append(f"no validation mask has a pixel of {listed(absent)}, so it has no IoU")
    return tuple(notes)
