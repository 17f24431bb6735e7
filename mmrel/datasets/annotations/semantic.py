"""A class for each pixel: from masks, or painted from objects with outlines."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmrel.datasets.annotations.class_list import ClassList
from mmrel.datasets.annotations.coco_writer import relative_name
from mmrel.datasets.annotations.instances import AnnotatedImage, InstanceSet
from mmrel.datasets.annotations.labelme import BACKGROUND, IGNORE
from mmrel.datasets.annotations.mask_classes import IGNORED, MAX_CLASSES, Coding, Color
from mmrel.datasets.annotations.mask_pairs import MaskPairs
from mmrel.datasets.annotations.outlines import run_length_code
from mmrel.utils.errors import UsageError
from mmrel.utils.files import write_atomically, write_text_atomically
from mmrel.utils.text import listed

Labels = NDArray[np.uint8]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SemanticSet:
    """Images with a class per pixel.

    Attributes:
        images: the files.
        read: labels of image i, uint8 ``(H, W)``: positions in ``classes``, 255 for none.
        classes: names.
        palette: a colour per class; ``None``: the data tell none.
        form: what it was read from.
        source: folder or file.
        notes: what was passed over.
    """

    images: tuple[Path, ...]
    read: Callable[[int], Labels]
    classes: tuple[str, ...]
    palette: tuple[Color, ...] | None
    form: str
    source: Path
    notes: tuple[str, ...] = ()

    def subset(self, indices: Sequence[int]) -> "SemanticSet":
        """Some of the images."""
        chosen = tuple(indices)
        images = tuple(self.images[index] for index in chosen)
        return replace(self, images=images, read=lambda index: self.read(chosen[index]))


def from_masks(data: MaskPairs, coding: Coding, names: ClassList | None) -> SemanticSet:
    """Masks as they are coded.

    Args:
        data: the files.
        coding: of these masks, or of the training masks that they belong to.
        names: of the values; ``None``: classes are called by their numbers or colours.

    Raises:
        UsageError: a value in the masks has no name.
    """
    read = lambda index: coding.labels(data.pairs[index][1])  # noqa: E731
    images = tuple(image for image, _ in data.pairs)
    classes = class_names(coding, names)
    return SemanticSet(images, read, classes, coding.palette, "masks", data.root, data.notes)


def class_names(coding: Coding, names: ClassList | None) -> tuple[str, ...]:
    """The names of a coding's classes."""
    if names is None:
        known = {v: f"#{v:06x}" if coding.colored else str(v) for v in coding.values}
    elif names.colored != coding.colored:
        raise UsageError(
            f"{names.path} names {'colours' if names.colored else 'numbers'}, but the masks hold "
            f"{'colours' if coding.colored else 'numbers'}. Write 'name' lines for numbers, 'name red green blue' for "
            "colours."
        )
    else:
        known = dict(names.names)
    if missing := [value for value in coding.values if value not in known]:
        shown = listed([f"#{v:06x}" if coding.colored else str(v) for v in missing])
        raise UsageError(
            f"The masks hold {shown}, which {names.path if names else 'nothing'} does not name. Add the names, or "
            "correct the masks."
        )
    return tuple(known[value] for value in coding.values)


def from_instances(data: InstanceSet) -> SemanticSet:
    """Objects painted in the order of their file over a background of class 0; ``__ignore__`` counts for nothing.

    Raises:
        UsageError: an object has no outline, or there are too many classes.
    """
    boxes = [image for image in data.images for t in image.objects if t.segmentation is None]
    if boxes:
        raise UsageError(
            f"{len(boxes)} objects in {data.source} are boxes without an outline (the first in {boxes[0].source}), "
            "which tell no pixels. Annotate polygons or masks, or train a detector: tools/finetune.py detect."
        )
    classes = ("background", *data.classes)
    if len(classes) > MAX_CLASSES:
        raise UsageError(f"{data.source} has {len(classes)} classes; masks hold {MAX_CLASSES}.")
    numbers = {name: number for number, name in enumerate(classes)}
    numbers |= {BACKGROUND: 0, IGNORE: IGNORED}
    images = tuple(image.path for image in data.images)
    read = lambda index: paint(data.images[index], numbers)  # noqa: E731
    return SemanticSet(images, read, classes, None, data.form, data.source, data.notes)


def paint(image: AnnotatedImage, numbers: dict[str, int]) -> Labels:
    """Labels ``(H, W)`` of one image's objects."""
    from pycocotools import mask as coco_mask

    labels = np.zeros((image.height, image.width), dtype=np.uint8)
    for thing in image.objects:
        code = run_length_code(thing.segmentation, (image.width, image.height))
        labels[coco_mask.decode(code).astype(bool)] = numbers[thing.label]
    return labels


def write_semantic(
    data: SemanticSet, folder: Path, name: str, root: Path, progress: Progress
) -> NDArray[np.int64]:
    """Write index masks and the list of ``mmrel.MaskListDataset``.

    Args:
        data: what to write.
        folder: gets ``NAME.json`` and ``masks/NAME/``.
        name: of the split.
        root: mmseg's ``data_root``; images below it are named relative to it.
        progress: is called with the number of masks written and of all.

    Returns:
        Pixels of each class, int64 ``(K,)``.
    """
    entries = []
    pixels = np.zeros(256, dtype=np.int64)
    for index, image in enumerate(data.images):
        own = relative_name(image, root)
        mask = f"masks/{name}/{own if not own.startswith('/') else f'{index}_{image.name}'}.png"
        labels = data.read(index)
        pixels += np.bincount(labels.ravel(), minlength=256)
        _write_png(folder / mask, labels)
        entries.append({"img_path": own, "seg_map_path": mask})
        progress(index + 1, len(data.images))
    write_text_atomically(folder / f"{name}.json", json.dumps({"data_list": entries}) + "\n")
    return pixels[: len(data.classes)]


def _write_png(path: Path, labels: Labels) -> None:
    image = Image.fromarray(labels)
    write_atomically(path, lambda file: image.save(file, "PNG"))
