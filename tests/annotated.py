"""Small annotated data sets in the forms that users have."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (40, 30)
"""Width and height of every image."""

TRIANGLE = [[5, 5, 25, 5, 5, 25]]


def write_image(path: Path, size: tuple[int, int] = SIZE, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def coco(num_images: int = 3, **changes: Any) -> dict[str, Any]:
    """Content of a COCO file: in each image a cat with an outline and a dog without."""
    images = [
        {"id": n, "file_name": f"{n}.png", "width": SIZE[0], "height": SIZE[1]}
        for n in range(num_images)
    ]
    cats = [
        {"id": n, "image_id": n, "category_id": 7, "bbox": [5, 5, 20, 20], "area": 200}
        for n in range(num_images)
    ]
    dogs = [
        {"id": 100 + n, "image_id": n, "category_id": 3, "bbox": [10, 10, 8, 9], "area": 72}
        for n in range(num_images)
    ]
    cats = [{**cat, "segmentation": TRIANGLE} for cat in cats]
    categories = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]
    content = {"images": images, "annotations": [*cats, *dogs], "categories": categories}
    return {**content, **changes}


def write_coco_set(root: Path, content: dict[str, Any] | None = None) -> Path:
    """A COCO file and its images beside it."""
    content = content or coco()
    for number, image in enumerate(content["images"]):
        write_image(root / image["file_name"], seed=number)
    path = root / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def shape(label: str = "cat", kind: Any = "polygon", points: Any = None, **more: Any) -> dict:
    points = [[5, 5], [25, 5], [5, 25]] if points is None else points
    return {"label": label, "shape_type": kind, "points": points, "group_id": None, **more}


def write_labelme(
    root: Path, name: str, shapes: list[dict], image: bool = True, **more: Any
) -> Path:
    """A LabelMe file, with its image beside it or inside it."""
    path = root / f"{name}.json"
    file = write_image(root / f"{name}.png")
    content = {"version": "5", "flags": {}, "shapes": shapes, "imagePath": f"{name}.png"}
    content |= {"imageWidth": SIZE[0], "imageHeight": SIZE[1], "imageData": None}
    if not image:
        content["imageData"] = base64.b64encode(file.read_bytes()).decode()
        file.unlink()
    path.write_text(json.dumps({**content, **more}))
    return path


def png_text(mask: np.ndarray) -> str:
    """A bool mask as LabelMe stores it."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def write_xml(root: Path, name: str, objects: str, size: tuple[int, int] = SIZE) -> Path:
    """A VOC file and its image, in VOC's folders."""
    write_image(root / "JPEGImages" / f"{name}.png")
    path = root / "Annotations" / f"{name}.xml"
    path.parent.mkdir(exist_ok=True)
    width, height = size
    path.write_text(
        f"<annotation><filename>{name}.png</filename><size><width>{width}</width><height>{height}</height></size>"
        f"{objects}</annotation>"
    )
    return path


def xml_object(name: str = "cat", box: tuple[Any, ...] = (5, 6, 25, 20), difficult: int = 0) -> str:
    corners = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    inside = "".join(f"<{corner}>{value}</{corner}>" for corner, value in corners)
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{inside}</bndbox></object>"


def labels(*values: int) -> np.ndarray:
    """A mask whose columns hold the values in turn, uint8 ``(30, 40)``."""
    width = SIZE[0]
    columns = [values[column * len(values) // width] for column in range(width)]
    return np.tile(np.array(columns, dtype=np.uint8), (SIZE[1], 1))


def write_masks(root: Path, masks: list[Image.Image | np.ndarray]) -> Path:
    """``images/`` and ``masks/``."""
    for number, mask in enumerate(masks):
        write_image(root / "images" / f"{number}.jpg", seed=number)
        path = root / "masks" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        (Image.fromarray(mask) if isinstance(mask, np.ndarray) else mask).save(path)
    return root
