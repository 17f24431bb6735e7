"""LabelMe's JSON files (github.com/wkentaro/labelme): shapes with labels, one file per image."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import ImageOps, UnidentifiedImageError

from mmrel.datasets.annotations.files import check_size, find_image, read_json, upright_size
from mmrel.datasets.annotations.instances import (
    AnnotatedImage,
    AnnotatedObject,
    InstanceSet,
    check_class_names,
    tidy,
)
from mmrel.datasets.annotations.labelme_shapes import FLAT, Shape, check_shape, merge_shapes
from mmrel.datasets.transforms.image_file import open_image
from mmrel.utils.errors import UsageError
from mmrel.utils.files import write_atomically

IGNORE = "__ignore__"
BACKGROUND = "_background_"
"""LabelMe's names for pixels that count for nothing, and for those of no class."""


def is_labelme(content: Any) -> bool:
    """Whether this is what LabelMe writes."""
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def read_labelme(files: Sequence[Path], root: Path, unpacked: Path) -> InstanceSet:
    """The objects in LabelMe files, in the order of their names; classes in alphabetical order.

    Shapes of one label and one ``group_id`` are parts of one object. Rectangles are boxes without a mask. Points and
    lines cover no area and are left out, with a note. ``__ignore__`` becomes a crowd of the label ``__ignore__``.

    Args:
        files: one per image.
        root: their folder, for messages.
        unpacked: folder to write images into that are in their annotation only (``imageData``).

    Raises:
        UsageError: a file is not LabelMe's, has an unknown shape, or its image is missing or of another size.
    """
    flat: list[str] = []
    images = [_read_file(path, root, unpacked, flat) for path in sorted(files)]
    labels = {thing.label for image in images for thing in image.objects} - {IGNORE}
    if not labels:
        raise UsageError(f"The {len(files)} LabelMe files in {root} hold no object to learn from.")
    check_class_names(sorted(labels), root)
    notes: tuple[str, ...] = ()
    if flat:
        notes = (
            f"{len(flat)} shapes without area ({', '.join(FLAT)}) were left out, the first in {flat[0]}",
        )
    names = sorted(labels - {BACKGROUND})
    return tidy(InstanceSet(tuple(images), tuple(names), "LabelMe", root, notes))


def _read_file(path: Path, root: Path, unpacked: Path, flat: list[str]) -> AnnotatedImage:
    content = read_json(path)
    if not is_labelme(content):
        raise UsageError(
            f"{path} is not LabelMe's: it has no list of shapes. Remove it from {root}."
        )
    image = _image(content, path, root, unpacked)
    stated = content.get("imageWidth"), content.get("imageHeight")
    if all(isinstance(side, int) and side > 0 for side in stated):
        check_size(image, (int(stated[0]), int(stated[1])), path)
    size = upright_size(image)
    shapes = list(_shapes(content["shapes"], path, flat))
    return AnnotatedImage(image, *size, tuple(_objects(shapes, size, path)), path)


def _shapes(entries: Sequence[Any], path: Path, flat: list[str]) -> Iterator[Shape]:
    for number, entry in enumerate(entries):
        shape = check_shape(entry, f"{path}: shape {number}")
        if shape.kind in FLAT:
            flat.append(str(path))
        else:
            yield shape


def _objects(
    shapes: Sequence[Shape], size: tuple[int, int], path: Path
) -> Iterator[AnnotatedObject]:
    """One object per shape without a group, and one per label and group."""
    groups: dict[tuple[str, Any], list[Shape]] = {}
    for number, shape in enumerate(shapes):
        key = ("alone", number) if shape.group is None else ("group", shape.group)
        groups.setdefault((shape.label, key), []).append(shape)
    for (label, _), parts in groups.items():
        box, segmentation = merge_shapes(parts, size, str(path))
        yield AnnotatedObject(label, box, segmentation, crowd=label == IGNORE)


def _image(content: dict[str, Any], path: Path, root: Path, unpacked: Path) -> Path:
    name = content.get("imagePath")
    found = find_image([path.parent], name if isinstance(name, str) else "", path.stem)
    if found is not None:
        return found
    data = content.get("imageData")
    if not isinstance(data, str) or not data:
        raise UsageError(
            f"The image of {path}, {name!r}, is missing, and the file holds no imageData. Put the image beside it."
        )
    target = unpacked / path.relative_to(root).with_suffix(".png")
    _unpack(data, path, target)
    return target


def _unpack(data: str, path: Path, target: Path) -> None:
    """Write the image that a file holds as PNG, upright."""
    try:
        with open_image(base64.b64decode(data, validate=True)) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (binascii.Error, OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        raise UsageError(
            f"The imageData in {path} is no image ({str(error)[:200]}). Put the image file beside it."
        ) from error
    write_atomically(target, lambda file: upright.save(file, "PNG"))
