"""Objects for mmdet: one COCO file to train on and one to judge by."""

from pathlib import Path
from statistics import median

from mmrel.apis.choices import Choice
from mmrel.apis.finetuning.data import (
    PreparedData,
    bright_colors,
    common_root,
    describe_classes,
)
from mmrel.apis.finetuning.split import draw_split
from mmrel.datasets.annotations.coco_writer import write_coco
from mmrel.datasets.annotations.instances import InstanceSet
from mmrel.datasets.annotations.labelme import BACKGROUND
from mmrel.utils.errors import UsageError
from mmrel.utils.text import listed


def split_objects(
    whole: InstanceSet, val: InstanceSet | None
) -> tuple[InstanceSet, InstanceSet, Choice]:
    """Training and validation images; drawn where there is no validation set."""
    if val is not None:
        numbers = f"{len(whole.images)} + {len(val.images)}"
        return (
            whole,
            val,
            Choice("images", numbers, "to train on and to judge by, as the data or --val say"),
        )
    classes = [frozenset(t.label for t in image.objects) for image in whole.images]
    train, held, choice = draw_split(classes, whole.source)
    return whole.subset(train), whole.subset(held), choice


def used_classes(train: InstanceSet, val: InstanceSet) -> tuple[tuple[str, ...], list[str]]:
    """The classes that training images have objects of, and what is to be said about the others.

    Raises:
        UsageError: there is none.
    """
    counts, held = train.counts(), val.counts()
    used = tuple(name for name in train.classes if counts[name] and name != BACKGROUND)
    if not used:
        raise UsageError(
            f"The {len(train.images)} training images of {train.source} have no object of a class. Annotate objects, "
            "or give other images."
        )
    notes = []
    if unused := [name for name in train.classes if name not in used and name != BACKGROUND]:
        notes.append(
            f"{len(unused)} classes without an object to train on are left out: {listed(unused)}"
        )
    if lost := sorted({name for name in held if name not in used and name in val.classes}):
        notes.append(
            f"validation images have {sum(held[name] for name in lost)} objects of classes that training images do "
            f"not have, which are left out: {listed(lost)}"
        )
    return used, notes


def prepare_objects(
    whole: InstanceSet, given_val: InstanceSet | None, folder: Path, workers: int
) -> PreparedData:
    """Write ``train.json`` and ``val.json`` into a folder.

    Args:
        whole: all images, or those to train on.
        given_val: those to judge by, or ``None``.
        folder: to write to.
        workers: loader processes.

    Raises:
        UsageError: no object is left to train on, or to judge by.
    """
    train, val, images = split_objects(whole, given_val)
    classes, warnings = used_classes(train, val)
    train, val = train.of_classes(classes), val.of_classes(classes)
    if not any(True for thing in val.objects() if not thing.crowd):
        raise UsageError(
            f"The {len(val.images)} validation images of {val.source} have no object of the classes that are trained: "
            f"{listed(classes)}. Give others with --val."
        )
    root = common_root([image.path for image in train.images])
    files = folder / "train.json", folder / "val.json"
    for part, file in zip((train, val), files, strict=True):
        write_coco(part, file, root)
    counts = train.counts()
    sides = [(t.box[2] * t.box[3]) ** 0.5 for t in train.objects() if not t.crowd]
    bare = [t for part in (train, val) for t in part.objects() if t.segmentation is None]
    total = sum(1 for part in (train, val) for _ in part.objects())
    form = Choice("data", whole.form, str(whole.source))
    return PreparedData(
        source=f"{whole.form}: {whole.source}",
        root=root,
        train_file=files[0],
        val_file=files[1],
        classes=classes,
        palette=bright_colors(len(classes)),
        sizes=tuple((image.width, image.height) for image in train.images),
        num_train=len(train.images),
        choices=(
            form,
            images,
            describe_classes(classes, [counts[name] for name in classes], "objects"),
        ),
        warnings=tuple(dict.fromkeys((*whole.notes, *val.notes, *warnings))),
        with_masks=not bare,
        why_boxes=f"{len(bare)} of {total} objects are boxes without an outline",
        object_side=median(sides),
        workers=workers,
    )
