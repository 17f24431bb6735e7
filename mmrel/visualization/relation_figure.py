"""Draws relation maps: the two views with their shared lattice, and what teacher and student relate."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from mmrel.visualization.relation_maps import ByteImage, ImageViews, RelationMaps
from mmrel.visualization.style import (
    ACCENT,
    NEUTRAL,
    PRETRAINED,
    RANDOM,
    SEQUENTIAL,
    figure,
    hide_axes,
)

VIEW_COLORS = (PRETRAINED, RANDOM)
Floats = NDArray[np.floating]


def draw_relation_maps(
    views: ImageViews, trained: RelationMaps, untrained: RelationMaps, query: int, path: Path
) -> None:
    """Write the figure.

    Args:
        views: of which the first image is drawn.
        trained: relations of the pretrained networks.
        untrained: relations of the same networks with random weights.
        query: index of the lattice point whose relations are shown, row-major.
        path: PNG file to write.
    """
    with figure(path, 9.6, 9.0) as canvas:
        parts: Any = canvas.subfigures(3, 1, height_ratios=(1.0, 1.02, 1.02))
        _draw_views(parts[0], views, trained, query)
        _draw_point(parts[1], trained, untrained, query)
        _draw_matrices(parts[2], trained)


def central_query(side: int) -> int:
    """Index of the middle point of a lattice."""
    return (side // 2) * side + side // 2


def overlap_image(views: ImageViews) -> ByteImage:
    """The part of the first image that both views show."""
    (x0, y0, w0, h0), (x1, y1, w1, h1) = views.boxes[:, :4].int().tolist()
    left, top = max(x0, x1), max(y0, y1)
    right, bottom = min(x0 + w0, x1 + w1), min(y0 + h0, y1 + h1)
    return views.images[0][top:bottom, left:right]


def _row(part: Figure | SubFigure, title: str) -> list[Axes]:
    part.suptitle(title, x=0.012, ha="left", fontsize=10.5, fontweight="bold")
    axes = part.subplots(1, 4)
    for axis in axes:
        hide_axes(axis)
    return list(axes)


def _draw_views(part: SubFigure, views: ImageViews, maps: RelationMaps, query: int) -> None:
    axes = _row(part, "One image, two crops, and the lattice that they share")
    axes[0].imshow(views.images[0])
    axes[0].set_title("image with both crops")
    for box, color in zip(views.boxes.tolist(), VIEW_COLORS, strict=True):
        corner = (box[0] - 0.5, box[1] - 0.5)
        axes[0].add_patch(Rectangle(corner, box[2], box[3], fill=False, edgecolor=color, lw=2.2))
    crops = views.crops.unflatten(0, (2, -1))[:, 0].permute(0, 2, 3, 1).numpy()
    for index, axis in enumerate(axes[1:3]):
        axis.imshow(crops[index])
        _draw_lattice(axis, maps.lattices[index], crops.shape[1], query)
        for spine in axis.spines.values():
            spine.set(visible=True, color=VIEW_COLORS[index], linewidth=2.2)
        flipped = ", flipped" if views.boxes[index, 4] else ""
        axis.set_title(f"view {index + 1} ({('teacher', 'student')[index]}{flipped})")
    axes[3].imshow(overlap_image(views))
    axes[3].set_title("what both views show")
    _mark(axes[3], query, _side(maps), overlap_image(views).shape[:2])


def _draw_lattice(axis: Axes, lattice: Floats, size: int, query: int) -> None:
    pixels = ((lattice + 1) * size - 1) / 2
    for line in (*pixels, *pixels.swapaxes(0, 1)):
        axis.plot(*line.T, color="white", linewidth=0.7, alpha=0.75)
    points = pixels.reshape(-1, 2)
    axis.scatter(
        points[:, 0],
        points[:, 1],
        s=12,
        color="white",
        edgecolors="#111827",
        linewidths=0.6,
        clip_on=False,
        zorder=3,
    )
    x, y = points[query]
    axis.scatter(x, y, s=55, color=ACCENT, edgecolors="white", linewidths=1.2, zorder=4)
    axis.set_xlim(-0.5, size - 0.5)
    axis.set_ylim(size - 0.5, -0.5)


def _mark(axis: Axes, query: int, side: int, shape: tuple[int, ...]) -> None:
    row, col = divmod(query, side)
    x, y = col / (side - 1) * shape[1] - 0.5, row / (side - 1) * shape[0] - 0.5
    axis.scatter(x, y, s=46, color=ACCENT, edgecolors="white", linewidths=1.2, zorder=3)


def _side(maps: RelationMaps) -> int:
    return maps.lattices.shape[1]


def _draw_point(
    part: SubFigure, trained: RelationMaps, untrained: RelationMaps, query: int
) -> None:
    axes = _row(part, "Spatial relation of the marked point to every lattice point")
    titles = (
        "teacher, view 1",
        "student, view 2",
        "random weights, view 1",
        "random weights, view 2",
    )
    rows = [*trained.spatial[:, query], *untrained.spatial[:, query]]
    side = _side(trained)
    for axis, title, row in zip(axes, titles, rows, strict=True):
        axis.imshow(row.reshape(side, side), cmap=SEQUENTIAL)
        axis.set_title(title)
        _mark(axis, query, side, (side, side))
        axis.set_xlabel(f"{row.min():.2g} to {row.max():.2g}", color=NEUTRAL, fontsize=8)


def _draw_matrices(part: SubFigure, maps: RelationMaps) -> None:
    axes = _row(part, "All relations, teacher on view 1 beside student on view 2")
    for axis, matrix, title in zip(
        axes[:2], maps.spatial, ("spatial, teacher", "spatial, student"), strict=True
    ):
        axis.imshow(matrix, cmap=SEQUENTIAL, vmax=np.quantile(matrix, 0.99))
        axis.set_title(title)
        axis.set_xlabel(f"{len(matrix)} lattice points", color=NEUTRAL, fontsize=8)
    for axis, matrix, title in zip(
        axes[2:], maps.channel, ("channel, teacher", "channel, student"), strict=True
    ):
        axis.imshow(matrix, cmap=SEQUENTIAL, vmax=np.quantile(matrix, 0.99))
        axis.set_title(title)
        axis.set_xlabel(f"{len(matrix)} channels", color=NEUTRAL, fontsize=8)
