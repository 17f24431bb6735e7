"""COCO's JSON (cocodataset.org, "data format"), read strictly: what does not fit together is named, not guessed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmrel.datasets.annotations.files import check_size, read_json, upright_size
from mmrel.datasets.annotations.instances import (
    AnnotatedImage,
    AnnotatedObject,
    InstanceSet,
    as_box,
    check_class_names,
    tidy,
)
from mmrel.datasets.annotations.outlines import check_outline, mask_box
from mmrel.utils.errors import UsageError
from mmrel.utils.text import listed

LISTS = ("images", "annotations", "categories")
Entry = Mapping[str, Any]
MAX_CHECKED = 5000
"""Images whose header is compared with the stated size; of more, so many spread evenly."""


def is_coco(content: Any) -> bool:
    """Whether this is COCO's form of object detection."""
    return isinstance(content, dict) and all(isinstance(content.get(n), list) for n in LISTS)


def read_coco(path: Path, image_root: Path | None = None) -> InstanceSet:
    """Images and objects of a COCO file.

    Args:
        path: the JSON file.
        image_root: folder that ``file_name`` is relative to; ``None``: the one of the usual places that has the files.

    Raises:
        UsageError: it is no COCO, ids repeat or are unknown, an image is missing or has another size, two classes
            have one name, or a box or mask is malformed.
    """
    content = read_json(path)
    if not is_coco(content):
        raise UsageError(
            f"{path} is no COCO file of objects: wanted a JSON object with the lists {', '.join(LISTS)}, found "
            f"{_keys(content)}. Export as 'COCO object detection' or 'COCO instances'."
        )
    images, categories = (_by_id(content[name], name, path) for name in ("images", "categories"))
    annotations = _by_id(content["annotations"], "annotations", path)
    names = {key: _name(entry, path) for key, entry in categories.items()}
    _check_names(names, path)
    if not images:
        raise UsageError(f"{path} lists no image. Export it again, with images.")
    _check_references(annotations.values(), images, names, path)
    files = _find_files(images, path, image_root)
    sizes = {key: _size(entry, files[key], path) for key, entry in images.items()}
    _check_sizes(files, sizes, images, path)
    objects: dict[Any, list[AnnotatedObject]] = {key: [] for key in images}
    for key, entry in annotations.items():
        owner = entry["image_id"]
        thing = _object(
            entry, names[entry["category_id"]], sizes[owner], f"{path}: annotation {key}"
        )
        objects[owner].append(thing)
    found = tuple(
        AnnotatedImage(files[key], *sizes[key], tuple(objects[key]), path) for key in images
    )
    return tidy(InstanceSet(found, tuple(names.values()), "COCO", path))


def _keys(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    return f"the keys {listed(list(content)) or 'none'}"


def _by_id(entries: Iterable[Any], name: str, path: Path) -> dict[Any, Entry]:
    found: dict[Any, Entry] = {}
    for entry in entries:
        key = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(key, int | str):
            raise UsageError(f"{path}: an entry of {name} has no id: {str(entry)[:100]}.")
        if key in found:
            raise UsageError(
                f"{path}: the id {key!r} stands twice in {name}. Ids must be unique; files that were joined need new "
                "ones."
            )
        found[key] = entry
    return found


def _name(entry: Entry, path: Path) -> str:
    name = entry.get("name")
    if not isinstance(name, str):
        raise UsageError(f"{path}: the category {entry['id']!r} has no name.")
    return name


def _check_names(names: Mapping[Any, str], path: Path) -> None:
    if not names:
        raise UsageError(f"{path} has no category, so nothing tells the classes. Export it again.")
    check_class_names(names.values(), path)
    owners: dict[str, Any] = {}
    for key, name in names.items():
        if name in owners:
            raise UsageError(
                f"{path}: the categories {owners[name]!r} and {key!r} have one name, {name!r}. Join them, or rename "
                "one."
            )
        owners[name] = key


def _check_references(entries: Iterable[Entry], images: Entry, names: Entry, path: Path) -> None:
    for field, known, what in (
        ("image_id", images, "images"),
        ("category_id", names, "categories"),
    ):
        unknown = [e for e in entries if not _is_known(e.get(field), known)]
        if unknown:
            raise UsageError(
                f"{path}: {len(unknown)} annotations have an unknown {field}, such as annotation "
                f"{unknown[0]['id']!r} with {field} {unknown[0].get(field)!r}; it must be an id of {what}. Remove "
                f"these annotations, or add what they refer to."
            )


def _is_known(key: Any, known: Entry) -> bool:
    return isinstance(key, int | str) and key in known


def _find_files(images: Mapping[Any, Entry], path: Path, root: Path | None) -> dict[Any, Path]:
    names = {key: entry.get("file_name") for key, entry in images.items()}
    if nameless := [key for key, name in names.items() if not isinstance(name, str) or not name]:
        raise UsageError(f"{path}: the image {nameless[0]!r} has no file_name.")
    repeated = len(names) - len(set(names.values()))
    if repeated:
        raise UsageError(
            f"{path}: {repeated} images have the file_name of another one. Join their annotations."
        )
    places = [root] if root is not None else image_places(path)
    counts = [sum((place / str(name)).is_file() for name in names.values()) for place in places]
    best = places[int(np.argmax(counts))]
    if missing := [str(best / str(n)) for n in names.values() if not (best / str(n)).is_file()]:
        looked = ", ".join(map(str, places))
        raise UsageError(
            f"{len(missing)} of the {len(names)} images that {path} names are missing: {listed(missing, 3)} (looked in "
            f"{looked}). Put the images there, or give their folder with --images."
        )
    return {key: best / str(name) for key, name in names.items()}


def image_places(path: Path) -> list[Path]:
    """Folders that a COCO file's images may be in: its own, its parent, and the usual ones beside it."""
    split = path.stem.rpartition("_")[2]
    near = path.parent, path.parent.parent
    return [
        place / sub for place in near for sub in ("", "images", split, f"images/{split}", path.stem)
    ]


def _size(entry: Entry, file: Path, path: Path) -> tuple[int, int]:
    width, height = entry.get("width"), entry.get("height")
    if width is None or height is None:
        return upright_size(file)
    if not (isinstance(width, int) and isinstance(height, int) and min(width, height) > 0):
        raise UsageError(
            f"{path}: {file} has width {width!r} and height {height!r}; wanted whole numbers of pixels."
        )
    return width, height


def _check_sizes(
    files: Mapping[Any, Path],
    sizes: Mapping[Any, tuple[int, int]],
    images: Mapping[Any, Entry],
    path: Path,
) -> None:
    keys = list(images)
    chosen = np.unique(np.linspace(0, len(keys) - 1, min(len(keys), MAX_CHECKED)).astype(int))
    for index in chosen:
        check_size(files[keys[index]], sizes[keys[index]], path)


def _object(entry: Entry, label: str, size: tuple[int, int], what: str) -> AnnotatedObject:
    segmentation = check_outline(entry.get("segmentation"), size, what)
    if entry.get("bbox") is None and segmentation is not None:
        box = mask_box(segmentation, size)
    else:
        box = as_box(entry.get("bbox"), what)
    return AnnotatedObject(label, box, segmentation, bool(entry.get("iscrowd")))
