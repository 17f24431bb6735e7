"""Labelled images of a folder whose layout is recognised."""

from collections.abc import Sequence
from pathlib import Path

from mmrel.evaluation.masks import LabelledImages


def open_segmentation(
    root: Path,
    classes: Sequence[str] | None = None,
    ignore_index: int | None = None,
    reduce_zero_label: bool = False,
) -> tuple[LabelledImages, LabelledImages]:
    """Training and validation images of a folder in one of three layouts, which is recognised.

    Args:
        root: ADE20K's layout (``images/training``, ``annotations/training``, the same with ``validation``; also the
            bundled scenes' ``segmentation``), PASCAL VOC's (``ImageSets/Segmentation/{train,val}.txt``), or plain
            folders (``train/images``, ``train/masks``, ``val/images``, ``val/masks``).
        classes: names; ``None``: known, or found in the masks. VOC's are known.
        ignore_index: of plain folders, number of pixels that count for nothing; ``None``: 255.
        reduce_zero_label: of plain folders, whether 0 counts for nothing and i + 1 is class i.

    Raises:
        FileNotFoundError: it has none of them, or a split is missing.
        ValueError: an option that the layout leaves no choice for, or as the constructors of
            :class:`mmrel.evaluation.masks.LabelledImages`.
    """
    numbers_given = ignore_index is not None or reduce_zero_label
    if (root / "ImageSets" / "Segmentation").is_dir():
        _refuse(classes is not None or numbers_given, root, "PASCAL VOC", "classes and numbers")
        return LabelledImages.from_voc(root, "train"), LabelledImages.from_voc(root, "val")
    if (root / "annotations").is_dir():
        _refuse(numbers_given, root, "ADE20K", "ignored numbers, 0 and 255,")
        train = LabelledImages.from_ade(root, "training", classes)
        return train, LabelledImages.from_ade(root, "validation", train.classes)
    if (root / "train" / "masks").is_dir():
        options = (255 if ignore_index is None else ignore_index, reduce_zero_label)
        folders = [(root / split / "images", root / split / "masks") for split in ("train", "val")]
        train = LabelledImages.from_folders(*folders[0], classes, *options)
        return train, LabelledImages.from_folders(*folders[1], train.classes, *options)
    raise FileNotFoundError(
        f"{root} (looked for {root.absolute()}) holds no labelled images in a known layout: annotations/training "
        "beside images/training (ADE20K, the scenes), ImageSets/Segmentation (PASCAL VOC), or train/masks beside "
        "train/images. Give the folder that holds these"
    )


def _refuse(given: bool, root: Path, layout: str, known: str) -> None:
    if given:
        raise ValueError(
            f"{root} has the layout of {layout}, whose {known} are known; leave these options out"
        )
