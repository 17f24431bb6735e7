"""Photos, their annotation, and what several networks made of them, side by side in their own proportions."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from mmrel.visualization.predictions import ByteImage, Color, paint_labels
from mmrel.visualization.style import NEUTRAL, figure, hide_axes

CELL = 2.0
"""Width of a picture in inches."""

TITLE_ROW, LEGEND_ROW, MARGIN = 0.2, 0.24, 0.1
TITLE_CHARACTERS = 24
LEGEND_COLUMN = 1.15
"""Inches that a legend's entry takes."""


@dataclass(frozen=True)
class SegmentedImage:
    """One row of the figure.

    Attributes:
        image: uint8 RGB ``(H, W, 3)``.
        truth: classes ``(H, W)``, -1 for ignored pixels.
        predictions: classes ``(H, W)`` of each network, by its title.
    """

    image: ByteImage
    truth: NDArray[np.integer]
    predictions: Mapping[str, NDArray[np.integer]]


def voc_palette(count: int) -> tuple[Color, ...]:
    """PASCAL VOC's colours: the bits of a class's number, dealt out to red, green and blue from the top.

    Args:
        count: at most 2^24.
    """
    return tuple(
        (_channel(number, 0), _channel(number, 1), _channel(number, 2)) for number in range(count)
    )


def _channel(number: int, offset: int) -> int:
    return sum((number >> (3 * place + offset) & 1) << (7 - place) for place in range(8))


def draw_segmentations(
    rows: Sequence[SegmentedImage],
    classes: Sequence[str],
    path: Path,
    palette: Sequence[Color] | None = None,
) -> None:
    """Write the figure: image, annotation and predictions of each photo, and a legend of the classes in it.

    Args:
        rows: one or more, with the same networks.
        classes: names.
        path: PNG file to write.
        palette: colour per class; ``None``: PASCAL VOC's.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("there is no image to draw; give one or more")
    colors = voc_palette(len(classes)) if palette is None else tuple(palette)
    titles = [_wrapped(title) for title in ("image", "annotation", *rows[0].predictions)]
    shapes = [row.image.shape[0] / row.image.shape[1] for row in rows]
    handles = _legend(rows, classes, colors)
    width = CELL * len(titles) + MARGIN
    per_line = max(1, int(width / LEGEND_COLUMN))
    lines = -(-len(handles) // per_line)
    title_lines = max(title.count("\n") + 1 for title in titles)
    height = CELL * sum(shapes) + TITLE_ROW * title_lines + LEGEND_ROW * lines + MARGIN
    with figure(path, width, height) as canvas:
        axes = canvas.subplots(
            len(rows), len(titles), squeeze=False, gridspec_kw={"height_ratios": shapes}
        )
        for line, row in zip(axes, rows, strict=True):
            _draw_row(line, row, colors)
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title, fontweight="bold")
        canvas.legend(handles=handles, loc="outside lower center", ncols=per_line)


def _wrapped(title: str) -> str:
    """No line wider than a picture."""
    lines = title.split("\n")
    return "\n".join(part for line in lines for part in textwrap.wrap(line, TITLE_CHARACTERS))


def _draw_row(axes: Sequence[Axes], row: SegmentedImage, colors: Sequence[Color]) -> None:
    labels = (row.truth, *row.predictions.values())
    pictures = (row.image, *(paint_labels(own, colors) for own in labels))
    for axis, picture in zip(axes, pictures, strict=True):
        hide_axes(axis)
        axis.imshow(picture)


def _legend(
    rows: Sequence[SegmentedImage], classes: Sequence[str], colors: Sequence[Color]
) -> list[Patch]:
    """A patch for each class that occurs, and one for pixels without."""
    maps = [own for row in rows for own in (row.truth, *row.predictions.values())]
    used = sorted({int(label) for own in maps for label in np.unique(own)})
    handles = [
        Patch(color="#{:02x}{:02x}{:02x}".format(*colors[label]), label=classes[label])
        for label in used
        if label >= 0
    ]
    if used[0] < 0:
        handles.append(Patch(facecolor="white", edgecolor=NEUTRAL, label="not labelled"))
    return handles
