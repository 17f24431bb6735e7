"""LabelMe's shapes as boxes and masks."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, hypot, isfinite, pi, sin
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError

from mmrel.datasets.annotations.instances import Box, Segmentation
from mmrel.datasets.annotations.outlines import mask_box, run_lengths
from mmrel.datasets.transforms.image_file import open_image
from mmrel.utils.errors import UsageError

POINTS = {
    "polygon": 3,
    "rectangle": 2,
    "circle": 2,
    "oriented_rectangle": 4,
    "mask": 2,
    "point": 1,
    "points": 1,
    "line": 2,
    "linestrip": 2,
}
"""The kinds of shapes, and how many points they have at least."""

FLAT = ("point", "points", "line", "linestrip")
CORNERS_OF_CIRCLE = 48


@dataclass(frozen=True)
class Shape:
    """One checked shape.

    Attributes:
        label: name of its class.
        kind: a key of :data:`POINTS`.
        points: (x, y) in pixels.
        group: shapes of one label and group are one object; ``None``: it stands alone.
        mask: base64 text of a PNG, of the kind ``mask``.
    """

    label: str
    kind: str
    points: tuple[tuple[float, float], ...]
    group: Any = None
    mask: str = ""


def check_shape(entry: Any, what: str) -> Shape:
    """A shape of a file.

    Raises:
        UsageError: of an unknown kind, or without label or points.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
        raise UsageError(f"{what} has no label: {str(entry)[:80]}.")
    kind = entry.get("shape_type") or "polygon"
    if kind not in POINTS:
        raise UsageError(
            f"{what} ({entry['label']!r}) is of the unknown kind {kind!r}; known are {', '.join(POINTS)}. Draw it as a "
            "polygon."
        )
    points = entry.get("points")
    if (
        not isinstance(points, list)
        or not all(map(_is_point, points))
        or len(points) < POINTS[kind]
    ):
        raise UsageError(
            f"{what} ({entry['label']!r}) is a {kind} with the points {str(points)[:80]}; wanted {POINTS[kind]} or "
            "more pairs of numbers."
        )
    mask, group = entry.get("mask"), entry.get("group_id")
    if kind == "mask" and not isinstance(mask, str):
        raise UsageError(f"{what} ({entry['label']!r}) is a mask without picture. Draw it again.")
    if not isinstance(group, int | str | None):
        raise UsageError(
            f"{what} ({entry['label']!r}) has the group_id {str(group)[:40]}; wanted a number."
        )
    found = tuple((float(x), float(y)) for x, y in points)
    return Shape(entry["label"], kind, found, group, mask or "")


def _is_point(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(v, int | float) and isfinite(v) for v in value)
    )


def merge_shapes(
    parts: Sequence[Shape], size: tuple[int, int], what: str
) -> tuple[Box, Segmentation]:
    """Box (x, y, width, height) and mask of the shapes that make one object.

    Args:
        parts: shapes with an area.
        size: (width, height) of the image.
        what: the file, for messages.

    Returns:
        The mask is ``None`` where one of them is a rectangle, which tells no outline.
    """
    if any(part.kind == "mask" for part in parts):
        painted = np.zeros((size[1], size[0]), dtype=bool)
        for part in parts:
            painted |= _paint(part, size, what)
        code = run_lengths(painted)
        return mask_box(code, size), code
    outlines = [_outline(part) for part in parts]
    xs = [x for outline in outlines for x, _ in outline]
    ys = [y for outline in outlines for _, y in outline]
    box = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
    if any(part.kind == "rectangle" for part in parts):
        return box, None
    return box, [[value for point in outline for value in point] for outline in outlines]


def _outline(shape: Shape) -> Sequence[tuple[float, float]]:
    if shape.kind == "rectangle":
        (left, *_, right), (top, *_, bottom) = (
            sorted(side) for side in zip(*shape.points, strict=True)
        )
        return (left, top), (right, top), (right, bottom), (left, bottom)
    if shape.kind != "circle":
        return shape.points
    (x, y), edge = shape.points[:2]
    radius = hypot(edge[0] - x, edge[1] - y)
    turns = [2 * pi * step / CORNERS_OF_CIRCLE for step in range(CORNERS_OF_CIRCLE)]
    return [(x + radius * cos(turn), y + radius * sin(turn)) for turn in turns]


def _paint(shape: Shape, size: tuple[int, int], what: str) -> np.ndarray[Any, Any]:
    """Bool ``(H, W)``."""
    from pycocotools import mask as coco_mask

    width, height = size
    if shape.kind != "mask":
        polygon = [value for point in _outline(shape) for value in point]
        codes = coco_mask.frPyObjects([polygon], height, width)
        return coco_mask.decode(coco_mask.merge(codes)).astype(bool)
    try:
        with open_image(base64.b64decode(shape.mask, validate=True)) as image:
            small = np.asarray(image.convert("L")) > 0
    except (binascii.Error, OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        raise UsageError(
            f"{what}: the mask {shape.label!r} holds no picture ({str(error)[:200]}). Draw it again."
        ) from error
    left, top = (round(value) for value in shape.points[0])
    full = np.zeros((height, width), dtype=bool)
    inside = small[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    top, left = max(top, 0), max(left, 0)
    full[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return full
