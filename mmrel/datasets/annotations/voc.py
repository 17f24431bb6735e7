"""PASCAL VOC's XML files, as labelImg, CVAT and Roboflow write them too: boxes, one file per image."""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mmrel.datasets.annotations.files import check_size, find_image, upright_size
from mmrel.datasets.annotations.instances import (
    AnnotatedImage,
    AnnotatedObject,
    Box,
    InstanceSet,
    check_class_names,
    tidy,
)
from mmrel.utils.errors import UsageError

IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "imgs")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(files: Sequence[Path], root: Path) -> InstanceSet:
    """The objects in XML files, in the order of the files' names; classes in alphabetical order.

    The numbers are taken as they are: corners in pixels. ``difficult`` objects count as COCO's crowds do.

    Args:
        files: one per image.
        root: the data set's folder, for messages and as a place of images.

    Raises:
        UsageError: a file is no such XML, or its image is missing or of another size.
    """
    images = [_read_file(path, root) for path in sorted(files)]
    labels = sorted({thing.label for image in images for thing in image.objects})
    if not labels:
        raise UsageError(f"The {len(images)} XML files in {root} hold no object to learn from.")
    check_class_names(labels, root)
    return tidy(InstanceSet(tuple(images), tuple(labels), "VOC", root))


def _read_file(path: Path, root: Path) -> AnnotatedImage:
    tree = _parse(path)
    near = path.parent, path.parent.parent, root
    folders = [place / sub for place in near for sub in ("", *IMAGE_FOLDERS)]
    image = find_image(folders, _text(tree, "filename"), path.stem)
    if image is None:
        raise UsageError(
            f"The image of {path}, {_text(tree, 'filename') or path.stem!r}, is missing: it is neither beside the file "
            f"nor in a folder {', '.join(IMAGE_FOLDERS)} near it. Put it there, or remove the file."
        )
    size = upright_size(image)
    stated = tuple(_text(tree, f"size/{side}") for side in ("width", "height"))
    # Some tools leave the size out or write 0.
    if all(text.isdigit() and int(text) for text in stated):
        check_size(image, (int(stated[0]), int(stated[1])), path)
    objects = tuple(_object(node, path) for node in tree.findall("object"))
    return AnnotatedImage(image, *size, objects, path)


def _parse(path: Path) -> Any:
    """The root element. Declarations of entities are refused: they can make a small file endless."""
    try:
        data = path.read_bytes()
        if b"<!DOCTYPE" in data or b"<!ENTITY" in data or b"\0" in data:
            raise ValueError(
                "it declares a document type or entities, which annotations do not need"
            )
        tree = ElementTree.fromstring(data)
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise UsageError(
            f"{path} cannot be read as XML ({str(error)[:200]}). Export the annotations again."
        ) from error
    if tree.tag != "annotation":
        raise UsageError(
            f"{path} is no VOC annotation: its outermost element is <{tree.tag[:40]}>, wanted <annotation>."
        )
    return tree


def _text(node: Any, name: str) -> str:
    return (node.findtext(name) or "").strip()


def _object(node: Any, path: Path) -> AnnotatedObject:
    label = _text(node, "name")
    if not label:
        raise UsageError(f"{path}: an object has no <name>. Correct the file.")
    return AnnotatedObject(label, _box(node, label, path), crowd=_text(node, "difficult") == "1")


def _box(node: Any, label: str, path: Path) -> Box:
    texts = [_text(node, f"bndbox/{name}") for name in CORNERS]
    try:
        left, top, right, bottom = (float(text) for text in texts)
    except ValueError:
        left = top = right = bottom = float("nan")
    if not all(map(isfinite, (left, top, right, bottom))):
        raise UsageError(
            f"{path}: the object {label!r} has the box {dict(zip(CORNERS, texts, strict=True))}; wanted four numbers."
        )
    return left, top, right - left, bottom - top


def of_split(data: InstanceSet, names: Sequence[str], source: Path) -> InstanceSet:
    """The images that a list of names without endings (VOC's ``ImageSets``) names.

    Raises:
        UsageError: a name has no XML file.
    """
    by_name = {image.source.stem: image for image in data.images}
    if missing := [name for name in names if name not in by_name]:
        raise UsageError(
            f"{source} names {len(missing)} images without an XML file, such as {missing[0]!r}. Remove the names, or "
            "add the files."
        )
    return replace(data, images=tuple(by_name[name] for name in names))
