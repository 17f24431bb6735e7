"""Pairs of pictures with lines between what was matched."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle
from numpy.typing import NDArray

from mmrel.visualization.panels import MARGIN, Panel, Pixels, mark, page, place, show, write
from mmrel.visualization.photos import sides
from mmrel.visualization.style import PRETRAINED, RANDOM

SPACE = 0.45
"""Inches between two pictures, so that lines do not run from edge to edge."""

HEIGHT, WIDTH, MIN_WIDTH = 3.4, 9.4, 6.6
"""Inches: of a picture at most, of a page at most, and what a heading may need."""


@dataclass(frozen=True)
class MatchLine:
    """Two pictures with matches.

    Attributes:
        heading: above them.
        pictures: uint8 ``(H, W, 3)`` each.
        places: ``(n, 2, 2)``: of each match the place ``(x, y)`` in both, as shares of the sides.
        colors: of each match.
        whole: a picture to show before them, of which they are crops.
        boxes: ``(2, 5)``, these crops, ``(x, y, w, h, flip)`` in its pixels.
    """

    heading: str
    pictures: Sequence[Pixels]
    places: NDArray[np.float64]
    colors: Sequence[Any]
    whole: Pixels | None = None
    boxes: NDArray[np.float32] | None = None

    @property
    def shown(self) -> list[Pixels]:
        """All pictures, from left to right."""
        return [*([] if self.whole is None else [self.whole]), *self.pictures]


def draw_lines(lines: Sequence[MatchLine], path: Path, theme: str = "light") -> None:
    """Write the figure, one pair of pictures below the other.

    Args:
        lines: from top to bottom.
        path: file to write, see :func:`mmrel.visualization.style.figure`.
        theme: ``'light'`` or ``'dark'``.
    """
    heights = [_fitting_height(line) for line in lines]
    widths = [
        sum(_width(picture, height) + SPACE for picture in line.shown) - SPACE
        for line, height in zip(lines, heights, strict=True)
    ]
    total = sum(heights) + 0.45 * len(lines) + MARGIN
    with page(path, max(*widths, MIN_WIDTH) + 2 * MARGIN, total, theme) as canvas:
        top = MARGIN
        for line, height in zip(lines, heights, strict=True):
            write(canvas, MARGIN, top, line.heading, fontsize=9, fontweight="bold")
            _draw_line(canvas, line, top + 0.28, height)
            top += height + 0.45


def _width(picture: Pixels, height: float) -> float:
    return height * picture.shape[1] / picture.shape[0]


def _fitting_height(line: MatchLine) -> float:
    stretch = sum(_width(picture, 1.0) for picture in line.shown)
    return min(HEIGHT, (WIDTH - SPACE * (len(line.shown) - 1)) / stretch)


def _draw_line(canvas: Figure, line: MatchLine, top: float, height: float) -> None:
    left, axes = MARGIN, []
    for picture in line.shown:
        width = _width(picture, height)
        axes.append(place(canvas, left, top, width, height))
        show(axes[-1], Panel(picture, sides(picture)))
        left += width + SPACE
    if line.boxes is not None:
        _draw_boxes(axes[0], line.boxes)
        for axis, color in zip(axes[1:], (PRETRAINED, RANDOM), strict=True):
            for spine in axis.spines.values():
                spine.set(visible=True, color=color, linewidth=2.2)
    _connect(canvas, axes[-2], axes[-1], line)


def _draw_boxes(axis: Axes, boxes: NDArray[np.float32]) -> None:
    for (x, y, width, height, _), color in zip(boxes.tolist(), (PRETRAINED, RANDOM), strict=True):
        axis.add_patch(
            Rectangle((x, y), width, height, fill=False, edgecolor=color, lw=2.2, clip_on=False)
        )


def _connect(canvas: Figure, left: Axes, right: Axes, line: MatchLine) -> None:
    sizes = [np.array(picture.shape[1::-1]) for picture in line.pictures]
    # The most important match lies on top.
    for places, color in reversed(list(zip(line.places, line.colors, strict=True))):
        ends = [tuple(share * side) for share, side in zip(places, sizes, strict=True)]
        canvas.add_artist(
            ConnectionPatch(
                ends[0], ends[1], "data", "data", axesA=left, axesB=right, color=color, lw=1.3
            )
        )
        for axis, end in zip((left, right), ends, strict=True):
            mark(axis, end, color, size=14)
