"""Images with objects, whatever they were annotated with: what COCO, VOC and LabelMe files are read into."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

from mmrel.utils.errors import UsageError
from mmrel.utils.text import listed

Box = tuple[float, float, float, float]
Segmentation = list[list[float]] | dict[str, Any] | None
MAX_CLASSES = 10_000


@dataclass(frozen=True)
class AnnotatedObject:
    """One object.

    Attributes:
        label: name of its class.
        box: (x, y, width, height) in pixels.
        segmentation: polygons ``[x1, y1, x2, y2, ...]``, a run-length code of pycocotools, or ``None``.
        crowd: it is neither to be found nor to be counted as wrong (COCO's crowds, VOC's difficult objects).
    """

    label: str
    box: Box
    segmentation: Segmentation = None
    crowd: bool = False


@dataclass(frozen=True)
class AnnotatedImage:
    """An image and its objects.

    Attributes:
        path: the image.
        width: in pixels, upright.
        height: in pixels.
        objects: none is an answer as well.
        source: the file that the annotation stands in.
    """

    path: Path
    width: int
    height: int
    objects: tuple[AnnotatedObject, ...]
    source: Path


@dataclass(frozen=True)
class InstanceSet:
    """Annotated images.

    Attributes:
        images: in the order of their file or of their names.
        classes: names, in the order of their numbers.
        form: what it was read from, for messages.
        source: file or folder.
        notes: what was passed over or changed, one sentence each.
    """

    images: tuple[AnnotatedImage, ...]
    classes: tuple[str, ...]
    form: str
    source: Path
    notes: tuple[str, ...] = field(default=())

    def objects(self) -> Iterator[AnnotatedObject]:
        """All objects."""
        return (thing for image in self.images for thing in image.objects)

    def counts(self) -> Counter[str]:
        """Number of objects of each class that has one."""
        return Counter(thing.label for thing in self.objects())

    def subset(self, indices: Sequence[int]) -> "InstanceSet":
        """Some of the images."""
        return replace(self, images=tuple(self.images[index] for index in indices))

    def of_classes(self, classes: Sequence[str], also: Sequence[str] = ()) -> "InstanceSet":
        """The same images with the objects of some classes alone, and of labels that are no classes."""
        kept = {*classes, *also}
        images = tuple(
            replace(image, objects=tuple(t for t in image.objects if t.label in kept))
            for image in self.images
        )
        return replace(self, images=images, classes=tuple(classes))


def check_class_names(names: Iterable[str], source: Path) -> None:
    """Raise ``UsageError`` for names that are empty, too many, or equal but for their case."""
    known: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise UsageError(f"{source}: {name!r} is no name of a class; give each class a name.")
        other = known.setdefault(name.strip().casefold(), name)
        if other != name:
            raise UsageError(
                f"{source}: the classes {other!r} and {name!r} differ only in upper and lower case or in spaces. Give "
                "both one name if they are one class, else distinct names."
            )
    if len(known) > MAX_CLASSES:
        raise UsageError(f"{source} names {len(known)} classes; at most {MAX_CLASSES} are taken.")


def as_box(values: Any, what: str) -> Box:
    """Four numbers from a file.

    Raises:
        UsageError: it is something else.
    """
    if (
        not isinstance(values, list | tuple)
        or len(values) != 4
        or not all(isinstance(v, int | float) and isfinite(v) for v in values)
    ):
        raise UsageError(
            f"{what} has the box {str(values)[:80]}; wanted four numbers: x, y, width, height."
        )
    x, y, width, height = map(float, values)
    return x, y, width, height


def tidy(data: InstanceSet) -> InstanceSet:
    """Clip boxes to their images and leave out what has less than a pixel there; the notes count both.

    Raises:
        UsageError: most objects would be lost, so that the coordinates cannot be pixels of these images.
    """
    clipped: list[str] = []
    empty: list[str] = []
    images = [replace(i, objects=tuple(_inside(i, clipped, empty))) for i in data.images]
    total = sum(1 for _ in data.objects())
    if len(empty) * 2 > total:
        raise UsageError(
            f"{len(empty)} of the {total} objects in {data.source} have no pixel inside their image (the first is in "
            f"{empty[0]}). Boxes are x, y, width, height in pixels of the image; shares from 0 to 1, or "
            "pixels of another size, are not understood."
        )
    notes = list(data.notes)
    if clipped:
        notes.append(
            f"{len(clipped)} boxes reached over the edge of their image and were clipped: {_named(clipped)}"
        )
    if empty:
        notes.append(
            f"{len(empty)} objects with less than a pixel inside their image were left out: {_named(empty)}"
        )
    return replace(data, images=tuple(images), notes=tuple(notes))


def _inside(
    image: AnnotatedImage, clipped: list[str], empty: list[str]
) -> Iterator[AnnotatedObject]:
    for thing in image.objects:
        x, y, width, height = thing.box
        left, top = max(x, 0.0), max(y, 0.0)
        right, bottom = min(x + width, image.width), min(y + height, image.height)
        if right - left < 1 or bottom - top < 1:
            empty.append(str(image.path))
            continue
        box = left, top, right - left, bottom - top
        if max(abs(new - old) for new, old in zip(box, thing.box, strict=True)) > 1:
            clipped.append(str(image.path))
        yield replace(thing, box=box)


def _named(paths: Sequence[str]) -> str:
    return listed(list(dict.fromkeys(paths)), 3)
