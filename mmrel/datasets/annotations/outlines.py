"""Outlines of objects: polygons and run-length codes, as COCO and pycocotools have them."""

from math import isfinite
from typing import Any

import numpy as np

from mmrel.datasets.annotations.instances import Box, Segmentation
from mmrel.utils.errors import UsageError


def check_outline(value: Any, size: tuple[int, int], what: str) -> Segmentation:
    """COCO's ``segmentation``: polygons, or a run-length code, whose counts are plain afterwards.

    Args:
        value: from a file.
        size: (width, height) of the image.
        what: the annotation, for messages.

    Raises:
        UsageError: it is neither, or a code of another size.
    """
    if value is None or value in ([], {}):
        return None
    if isinstance(value, dict):
        return _run_lengths(value, size, what)
    if not isinstance(value, list) or not all(map(_is_polygon, value)):
        raise UsageError(
            f"{what} has a segmentation that is neither polygons ([[x1, y1, x2, y2, x3, y3, ...], ...], three points "
            f"or more each) nor a run-length code: {str(value)[:80]}."
        )
    return value


def _is_polygon(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= 6
        and len(value) % 2 == 0
        and all(isinstance(v, int | float) and isfinite(v) for v in value)
    )


def _run_lengths(value: dict[str, Any], size: tuple[int, int], what: str) -> dict[str, Any]:
    """A run-length code with plain counts that add up to the image; pycocotools trusts what it is given."""
    counts, shape = value.get("counts"), value.get("size")
    if shape != [size[1], size[0]]:
        raise UsageError(
            f"{what} has a run-length code of size {shape}, its image {[size[1], size[0]]} (height, width)."
        )
    plain = text_counts(counts) if isinstance(counts, str) else counts
    if (
        not isinstance(plain, list)
        or not all(isinstance(c, int) and c >= 0 for c in plain)
        or sum(plain) != size[0] * size[1]
    ):
        raise UsageError(
            f"{what} has a run-length code whose counts do not add up to the {size[0] * size[1]} pixels of its image: "
            f"{str(counts)[:80]}. Export it again."
        )
    return {"size": shape, "counts": plain}


def text_counts(text: str) -> list[int]:
    """The counts in COCO's text form: five bits a character, a sixth that says more follow, differences from the third.

    What is no such text gives counts that do not add up to an image.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts


def mask_box(segmentation: Segmentation, size: tuple[int, int]) -> Box:
    """The box (x, y, width, height) around a mask in an image of (width, height) pixels."""
    from pycocotools import mask as coco_mask

    x, y, width, height = coco_mask.toBbox(run_length_code(segmentation, size)).tolist()
    return x, y, width, height


def run_length_code(segmentation: Segmentation, size: tuple[int, int]) -> dict[str, Any]:
    """One compressed run-length code of polygons, or of a code with plain counts."""
    from pycocotools import mask as coco_mask

    width, height = size
    codes = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.merge(codes) if isinstance(segmentation, list) else codes


def run_lengths(mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Plain run-length code of a bool mask ``(H, W)``: columns after each other, zeros first."""
    flat = np.concatenate([[False], mask.ravel(order="F"), [not mask[-1, -1]]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return {"size": list(mask.shape), "counts": np.diff(edges, prepend=0).tolist()}
