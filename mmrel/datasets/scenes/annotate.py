"""Annotations of a painted scene: COCO instances, ADE20K-style masks, DAVIS object masks."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mmrel.datasets.scenes.classes import STUFF
from mmrel.datasets.scenes.paint import MIN_VISIBLE_PIXELS
from mmrel.datasets.scenes.scene import Picture

IGNORE = 255
"""Value of pixels that neither training nor evaluation counts."""

_ZOOM = 4
_TOLERANCE = 0.4

Mask = NDArray[np.bool_]


def run_lengths(mask: Mask) -> dict[str, Any]:
    """Uncompressed COCO run-length encoding: column-major, the first count is of zeros."""
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], edges]))
    rest = mask.size - int(counts.sum())
    return {"size": list(mask.shape), "counts": [int(n) for n in counts] + [rest] * (rest > 0)}


def polygons(mask: Mask) -> list[list[float]] | None:
    """Outlines ``[x0, y0, x1, y1, ...]`` of all parts of a mask; None if a part has a hole.

    Outlines follow the edges of the pixels to within about half a pixel.
    """
    padded = np.pad(mask.astype(np.uint8), 1)
    zoomed = cv2.resize(padded, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(zoomed, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if (hierarchy[0][:, 3] >= 0).any():
        return None
    outlines = [cv2.approxPolyDP(part, _TOLERANCE * _ZOOM, True)[:, 0] for part in contours]
    placed = [(outline + 0.5) / _ZOOM - 1 for outline in outlines if len(outline) >= 3]
    return [np.round(outline, 2).ravel().tolist() for outline in placed]


def tight_box(mask: Mask) -> list[int]:
    """``[x, y, w, h]`` of the pixels of a mask, COCO's convention."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(cols[0]), int(rows[0])
    return [x, y, int(cols[-1]) - x + 1, int(rows[-1]) - y + 1]


def coco_annotations(picture: Picture) -> list[dict[str, Any]]:
    """The seen things as COCO annotations, still without ``id`` and ``image_id``.

    The shape is a list of polygons, or run lengths where a part has a hole.
    """
    annotations = []
    for k, thing in enumerate(picture.things):
        mask = picture.owner == k
        area = int(np.count_nonzero(mask))
        if area < MIN_VISIBLE_PIXELS:
            continue
        annotations.append(
            {
                "category_id": thing.label + 1,
                "bbox": tight_box(mask),
                "area": area,
                "iscrowd": 0,
                "segmentation": polygons(mask) or run_lengths(mask),
            }
        )
    return annotations


def border(owner: NDArray[np.int16]) -> Mask:
    """Pixels ``(S, S)`` with a neighbour of another thing, or of stuff if they are a thing's."""
    image = owner.astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(image, kernel) != cv2.erode(image, kernel))


def segmentation_mask(picture: Picture) -> NDArray[np.uint8]:
    """ADE20K-style mask ``(S, S)``: class + 1 of ``SEGMENTATION_CLASSES``, 255 around things."""
    labels = np.array([thing.label for thing in picture.things] + [0], np.uint8)
    is_thing = picture.owner >= 0
    mask = np.where(is_thing, labels[picture.owner] + (len(STUFF) + 1), picture.stuff + 1)
    mask[border(picture.owner)] = IGNORE
    return mask.astype(np.uint8)


def object_mask(picture: Picture) -> NDArray[np.uint8]:
    """DAVIS-style mask ``(S, S)``: 0 for background, k + 1 for thing k."""
    return (picture.owner + 1).astype(np.uint8)
