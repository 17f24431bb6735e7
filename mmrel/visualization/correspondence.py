"""Matches of patches between two photographs, or between two crops of one, where the truth is known.

After the correspondences of iBOT (arXiv 2111.07832); the measure is in :mod:`mmrel.evaluation.correspondence`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmrel.evaluation.correspondence import (
    Matches,
    correct_matches,
    correspondence_accuracy,
    draw_boxes,
    most_salient,
    mutual_nearest,
    true_cells,
)
from mmrel.evaluation.images import OneImage, read_image
from mmrel.models.backbones import ViT
from mmrel.visualization.attention import attention_maps
from mmrel.visualization.match_lines import MatchLine, draw_lines
from mmrel.visualization.panels import Pixels
from mmrel.visualization.photos import SIZE, Grid, photo_tokens, sides

ORDERS = ("attention", "similarity")
COUNT = 12
RIGHT, WRONG = "#2f9e44", "#e03131"


@dataclass(frozen=True)
class PhotoMatches:
    """Matches between two pictures.

    Attributes:
        places: float ``(n, 2, 2)``: of each match the centre ``(x, y)`` of its patch in the first and in the second
            picture, as shares of the sides; the most important match first.
        similarity: ``(n,)``, cosine similarities.
        mutual: number of all mutual nearest neighbours, of which these n were chosen.
        patches: number of patches of the first picture.
    """

    places: NDArray[np.float64]
    similarity: NDArray[np.float32]
    mutual: int
    patches: int


@dataclass(frozen=True)
class CropMatches:
    """Matches between two crops of one photograph.

    Attributes:
        boxes: float32 ``(2, 5)``: ``(x, y, w, h, flip)`` in pixels of the photograph.
        matches: between the crops as they are seen, flipped where they are.
        correct: bool ``(n,)``, which of these matches are right.
        accuracy: per cent of the first crop's patches that the second crop shows too, and whose most similar patch is
            at most ``radius`` patches from the true one.
        shared: number of those patches.
        radius: of what counts as right.
    """

    boxes: NDArray[np.float32]
    matches: PhotoMatches
    correct: NDArray[np.bool_]
    accuracy: float
    shared: int
    radius: int


def photo_matches(
    backbone: ViT,
    first: OneImage,
    second: OneImage,
    count: int = COUNT,
    by: str = "attention",
    block: int = -1,
    size: int | None = SIZE,
) -> PhotoMatches:
    """Pairs of patches of two photographs of which each is the other's most similar one.

    Args:
        backbone: as ``get_backbone`` gives it; it is left as it was.
        first: file, Pillow image or uint8 array ``(H, W, 3)``.
        second: likewise.
        count: how many of them to return.
        by: which ones: ``'attention'``: those of the patches to which the class token pays most (without class token,
            the mean query); ``'similarity'``: the most similar ones.
        block: whose tokens, after the final norm, and whose attention; negative ones count from the end.
        size: short side in pixels; ``None``: the photographs' own.

    Raises:
        ValueError: an unknown order or block, a count below 1, or a photograph smaller than a patch.
        UnreadableImageError: a file that holds no image.
    """
    pair = first, second
    found = [photo_tokens(backbone, image, size, block) for image in pair]
    mutual = mutual_nearest(found[0].tokens, found[1].tokens)
    chosen = _choose(backbone, pair, mutual, count, by, block, size)
    return _placed(chosen, (found[0].grid, found[1].grid), len(mutual))


def crop_matches(
    backbone: ViT,
    image: OneImage,
    seed: int = 0,
    radius: int = 1,
    count: int = COUNT,
    by: str = "attention",
    block: int = -1,
    size: int | None = SIZE,
    boxes: Tensor | None = None,
) -> CropMatches:
    """The same between two random crops of a photograph, and how many are right.

    Args:
        backbone: see :func:`photo_matches`.
        image: likewise.
        seed: of the crops.
        radius: 0: right is the true patch alone, 1: also its 8 neighbours.
        count: see :func:`photo_matches`.
        by: likewise.
        block: likewise.
        size: short side of each crop in pixels; ``None``: its own.
        boxes: crops ``(2, 5)``, ``(x, y, w, h, flip)`` in pixels, instead of random ones.

    Raises:
        ValueError: as for :func:`photo_matches`; crops that share nothing; a negative radius.
        UnreadableImageError: a file that holds no image.
    """
    picture = read_image(image)
    boxes = draw_boxes(*sides(picture), seed) if boxes is None else boxes
    pair = cut(picture, boxes[0]), cut(picture, boxes[1])
    found = [photo_tokens(backbone, crop, size, block) for crop in pair]
    grids, tokens = (found[0].grid, found[1].grid), (found[0].tokens, found[1].tokens)
    mutual = mutual_nearest(*tokens)
    chosen = _choose(backbone, pair, mutual, count, by, block, size)
    correct = correct_matches(chosen, true_cells(boxes[0], boxes[1], grids), grids[1], radius)
    accuracy, shared = correspondence_accuracy(*tokens, boxes, grids, radius)
    matches = _placed(chosen, grids, len(mutual))
    return CropMatches(boxes.numpy(), matches, correct.numpy(), accuracy, shared, radius)


def cut(picture: Pixels, box: Tensor | NDArray[Any]) -> Pixels:
    """One crop ``(x, y, w, h, flip)`` of a picture, flipped if it is so."""
    x, y, width, height, flip = (int(value) for value in box)
    crop = picture[y : y + height, x : x + width]
    return np.ascontiguousarray(crop[:, ::-1] if flip else crop)


def _choose(
    backbone: ViT,
    pair: tuple[OneImage, OneImage],
    mutual: Matches,
    count: int,
    by: str,
    block: int,
    size: int | None,
) -> Matches:
    """The most important of mutual matches, of which the most similar one comes first."""
    if by not in ORDERS or count < 1:
        raise ValueError(
            f"{count} matches by {by!r} are asked for; give 1 or more, by {' or '.join(ORDERS)}"
        )
    if by == "similarity":
        return mutual.take(torch.arange(min(count, len(mutual))))
    query = "mean" if backbone.cls_token is None else "cls"
    maps = (attention_maps(backbone, image, block, query, size).mean(axis=0) for image in pair)
    first, second = (torch.from_numpy(values).flatten() for values in maps)
    return most_salient(mutual, first, second, count)


def _placed(matches: Matches, grids: tuple[Grid, Grid], mutual: int) -> PhotoMatches:
    places = []
    for indices, (rows, cols) in zip((matches.first, matches.second), grids, strict=True):
        row, col = indices.double().div(cols).floor(), indices.double() % cols
        places.append(torch.stack([(col + 0.5) / cols, (row + 0.5) / rows], dim=1))
    return PhotoMatches(
        torch.stack(places, dim=1).numpy(),
        matches.similarity.numpy(),
        mutual,
        grids[0][0] * grids[0][1],
    )


def draw_photo_matches(
    first: OneImage,
    second: OneImage,
    found: Mapping[str, PhotoMatches],
    path: Path,
    theme: str = "light",
) -> None:
    """Write the figure: for each set of weights both photographs, with a line in a colour of its own per match.

    Args:
        first: of :func:`photo_matches`.
        second: likewise.
        found: by the title of the weights, of :func:`photo_matches`.
        path: file to write, PNG, PDF or SVG by its ending.
        theme: ``'light'`` or ``'dark'``.
    """
    pictures = [read_image(first), read_image(second)]
    lines = [
        MatchLine(
            f"{name}: {len(one.places)} of {one.mutual} mutual nearest neighbours among {one.patches} patches",
            pictures,
            one.places,
            [mpl.colormaps["hsv"](index / len(one.places)) for index in range(len(one.places))],
        )
        for name, one in found.items()
    ]
    draw_lines(lines, path, theme)


def draw_crop_matches(
    image: OneImage, found: Mapping[str, CropMatches], path: Path, theme: str = "light"
) -> None:
    """Write the figure: for each set of weights both crops and their matches, right ones green and wrong ones red.

    Args:
        image: of :func:`crop_matches`.
        found: by the title of the weights, of :func:`crop_matches`; of the same crops.
        path: file to write, PNG, PDF or SVG by its ending.
        theme: ``'light'`` or ``'dark'``.
    """
    picture = read_image(image)
    lines = []
    for name, one in found.items():
        radius = f"within {one.radius} patch{'' if one.radius == 1 else 'es'}"
        heading = (
            f"{name}: {one.accuracy:.1f} % of {one.shared} shared patches found {radius}; "
            f"drawn: {int(one.correct.sum())} of {len(one.correct)} right"
        )
        crops = [cut(picture, box) for box in one.boxes]
        colors = [RIGHT if right else WRONG for right in one.correct]
        lines.append(MatchLine(heading, crops, one.matches.places, colors, picture, one.boxes))
    draw_lines(lines, path, theme)
