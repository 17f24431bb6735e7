"""How similar chosen patches of a photograph are to all its patches, or to those of another photograph."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmrel.evaluation.correspondence import cosine_similarities
from mmrel.evaluation.images import OneImage, read_image
from mmrel.models.backbones import ViT
from mmrel.visualization.panels import Panel, Row, draw_rows, in_lines
from mmrel.visualization.photos import (
    SIZE,
    Grid,
    Point,
    flat_patches,
    patch_center,
    photo_tokens,
    sides,
)

Floats = NDArray[np.floating]
COLUMNS = 5
MIDDLE: tuple[Point, ...] = ((0.5, 0.5),)


def similarity_maps(
    backbone: ViT,
    image: OneImage,
    points: Sequence[Point] = MIDDLE,
    other: OneImage | None = None,
    block: int = -1,
    size: int | None = SIZE,
) -> NDArray[np.float32]:
    """Cosine similarity of patch tokens at some places to all patch tokens, after the final norm.

    Args:
        backbone: as ``get_backbone`` gives it; it is left as it was.
        image: file, Pillow image or uint8 array ``(H, W, 3)``.
        points: P places ``(x, y)`` in it: whole numbers are its pixels, floats in [0, 1] shares of its sides.
        other: the photograph whose patches are compared; ``None``: ``image`` itself.
        block: whose tokens; negative ones count from the end.
        size: short side in pixels; ``None``: the photographs' own.

    Returns:
        ``(P, rows, cols)``, values in [-1, 1], on the grid of ``other`` if it is given.

    Raises:
        ValueError: a point outside of the image, an unknown block, or a photograph smaller than a patch.
        UnreadableImageError: a file that holds no image.
    """
    own = photo_tokens(backbone, image, size, block)
    chosen = own.tokens[flat_patches(points, own.shape, own.grid)]
    compared = own if other is None else photo_tokens(backbone, other, size, block)
    return cosine_similarities(chosen, compared.tokens).unflatten(1, compared.grid).numpy()


def draw_similarity(
    image: OneImage,
    points: Sequence[Point],
    maps: Mapping[str, Floats],
    path: Path,
    other: OneImage | None = None,
    theme: str = "light",
) -> None:
    """Write the figure: the photographs, and for each set of weights a row with a map per place.

    Args:
        image: in which the places lie; they are marked.
        points: of :func:`similarity_maps`.
        maps: by the title of the weights, of :func:`similarity_maps`.
        path: file to write, PNG, PDF or SVG by its ending.
        other: the photograph that was compared, if another one.
        theme: ``'light'`` or ``'dark'``.

    Raises:
        ValueError: a point outside of the image.
    """
    picture = read_image(image)
    shape, grid = sides(picture), sides(next(iter(maps.values()))[0])
    compared = None if other is None else read_image(other)
    marks = marked(points, shape, grid if compared is None else shape)
    lead = [Panel(picture, shape, "photograph", marks=tuple(marks))]
    if compared is not None:
        lead.append(Panel(compared, sides(compared), "compared photograph"))
        marks = []
    rows: list[Row] = []
    for name, values in maps.items():
        panels = [*lead, *map_panels(values, lead[-1].shape, marks)]
        rows += in_lines(panels, COLUMNS, name, "cosine similarity")
    draw_rows(rows, path, theme)


def marked(points: Sequence[Point], shape: tuple[int, int], grid: Grid) -> list[tuple[Point, int]]:
    """Places as marks of a panel, at the centres of their patches."""
    return [(patch_center(point, shape, grid), index) for index, point in enumerate(points)]


def map_panels(
    values: Floats, shape: tuple[int, int], marks: Sequence[tuple[Point, int]]
) -> list[Panel]:
    """Maps of several places on one scale, each with its own place marked, if there are marks."""
    scale = float(values.min()), float(values.max())
    return [
        Panel(one, shape, f"point {index + 1}", scale=scale, marks=tuple(marks[index : index + 1]))
        for index, one in enumerate(values)
    ]
