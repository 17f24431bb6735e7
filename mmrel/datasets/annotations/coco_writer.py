"""Annotated images as a COCO file, for mmdet's data set and its metric."""

import json
import os
from pathlib import Path
from typing import Any

from mmrel.datasets.annotations.instances import AnnotatedImage, AnnotatedObject, InstanceSet
from mmrel.datasets.annotations.outlines import run_length_code
from mmrel.utils.files import write_text_atomically


def write_coco(data: InstanceSet, path: Path, image_root: Path) -> None:
    """Write the file; images below ``image_root`` are named relative to it, others by their whole path.

    Args:
        data: the classes are numbered from 1 on in their order.
        path: file to write.
        image_root: mmdet's ``data_root``.
    """
    numbers = {name: number for number, name in enumerate(data.classes, start=1)}
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(data.images, start=1):
        for thing in image.objects:
            entry = _annotation(thing, image, numbers[thing.label])
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **entry})
    content = {
        "info": {"description": f"written by mmrel from {data.form}: {data.source}"},
        "images": [_image(n, image, image_root) for n, image in enumerate(data.images, start=1)],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
    }
    write_text_atomically(path, json.dumps(content) + "\n")


def relative_name(path: Path, root: Path) -> str:
    """The path below a folder with slashes, or the whole path where it lies elsewhere."""
    own, base = Path(os.path.abspath(path)), Path(os.path.abspath(root))  # noqa: PTH100 - links stay as they are
    return own.relative_to(base).as_posix() if own.is_relative_to(base) else own.as_posix()


def _image(number: int, image: AnnotatedImage, root: Path) -> dict[str, Any]:
    name = relative_name(image.path, root)
    return {"id": number, "file_name": name, "width": image.width, "height": image.height}


def _annotation(thing: AnnotatedObject, image: AnnotatedImage, category: int) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "category_id": category,
        "bbox": [round(value, 3) for value in thing.box],
        "area": thing.box[2] * thing.box[3],
        "iscrowd": int(thing.crowd),
    }
    if thing.segmentation is None:
        return entry
    from pycocotools import mask as coco_mask

    code = run_length_code(thing.segmentation, (image.width, image.height))
    segmentation: Any = thing.segmentation
    if isinstance(segmentation, dict):
        segmentation = {"size": list(code["size"]), "counts": code["counts"].decode()}
    # An outline thinner than a pixel has no area; mmdet would leave the object out.
    area = float(coco_mask.area(code)) or entry["area"]
    return {**entry, "area": area, "segmentation": segmentation}
