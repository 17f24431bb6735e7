"""Rows of pictures and maps in their true aspect ratios, with titles, marks and colour bars.

Everything is placed by inches, so that nothing is stretched and no gap depends on the shape of a photograph.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from mmrel.visualization.photos import sides
from mmrel.visualization.style import ACCENT, SEQUENTIAL, THEMES, figure, hide_axes

Pixels = NDArray[Any]
Point = tuple[float, float]

DPI = 200
MARGIN, GAP = 0.12, 0.1
"""Inches around the page, and between two panels."""

HEADING, LINE, NOTE, SECTION = 0.25, 0.15, 0.2, 0.14
"""Inches that one line takes: above a row, above its panels, below them; and what is left free above a heading."""

CHARACTER = 0.067
"""Inches that a character of a panel's title takes on average."""

BAR, BAR_LABELS = 0.11, 0.55
MIN_WIDTH = 3.6
"""Inches that a heading may need."""

SHOWN_PIXELS = 900
MARK_COLORS = (ACCENT, "#22b8cf", "#fcc419", "#69db7c", "#ffffff", "#b197fc", "#ff922b", "#adb5bd")


@dataclass(frozen=True)
class Panel:
    """A picture or a map.

    Attributes:
        pixels: uint8 ``(H, W, 3)``, or a map of floats ``(rows, cols)``.
        shape: height and width that give the aspect ratio to draw it in.
        title: above it.
        note: below it.
        scale: values of the first and the last colour of a map.
        marks: places, as shares of the sides, and the number of each one's colour.
        colors: matplotlib's name of a map's colours.
        outlined: bool ``(rows, cols)``, a mask whose border is drawn.
    """

    pixels: Pixels
    shape: tuple[int, int]
    title: str = ""
    note: str = ""
    scale: tuple[float, float] = (0.0, 1.0)
    marks: tuple[tuple[Point, int], ...] = ()
    colors: str = SEQUENTIAL
    outlined: NDArray[np.bool_] | None = None

    @property
    def stretch(self) -> float:
        """Width in units of the height."""
        return self.shape[1] / self.shape[0]


@dataclass(frozen=True)
class Row:
    """Panels of equal height.

    Attributes:
        panels: from left to right.
        heading: above them, bold.
        bar: what the colours of its maps mean; empty: no colour bar. Its values and colours are the last map's.
        columns: number of panels for which there shall be room; ``None``: as many as there are.
    """

    panels: tuple[Panel, ...]
    heading: str = ""
    bar: str = ""
    columns: int | None = None


def draw_rows(
    rows: Sequence[Row],
    path: Path,
    theme: str = "light",
    width: float = 9.6,
    max_height: float = 2.7,
) -> None:
    """Write a figure.

    Args:
        rows: from top to bottom.
        path: file to write, see :func:`mmrel.visualization.style.figure`.
        theme: ``'light'`` or ``'dark'``.
        width: of the page at most, in inches.
        max_height: of a panel, in inches.
    """
    heights = [_panel_height(row, width, max_height) for row in rows]
    pairs = list(zip(rows, heights, strict=True))
    page_width = max(MIN_WIDTH, *(_row_width(*pair) for pair in pairs)) + 2 * MARGIN
    spaces = [SECTION * bool(row.heading) for row in rows[1:]] + [0.0]
    used = [height + _text_height(row, height) + GAP for row, height in pairs]
    with page(path, page_width, sum(used) + sum(spaces) + MARGIN, theme) as canvas:
        top = MARGIN
        for (row, height), step, space in zip(pairs, used, spaces, strict=True):
            _draw_row(canvas, row, height, top)
            top += step + space


@contextmanager
def page(path: Path, width: float, height: float, theme: str) -> Iterator[Figure]:
    """A figure on which everything is placed by hand."""
    with figure(path, width, height, theme, DPI) as canvas:
        canvas.set_layout_engine("none")
        yield canvas


def place(canvas: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in inches from the page's upper left corner, without ticks and frame."""
    page_width, page_height = canvas.get_size_inches()
    bottom = page_height - top - height
    box = left / page_width, bottom / page_height, width / page_width, height / page_height
    axes = canvas.add_axes(box)
    hide_axes(axes)
    return axes


def write(canvas: Figure, left: float, top: float, text: str, **how: Any) -> None:
    """Text at a place in inches from the page's upper left corner."""
    width, height = canvas.get_size_inches()
    canvas.text(left / width, 1 - top / height, text, **{"va": "top", "ha": "left", **how})


def show(axes: Axes, panel: Panel) -> None:
    """Draw a panel's picture and marks; places are pixels of ``panel.shape``."""
    height, width = panel.shape
    colors: dict[str, Any] = (
        {"cmap": panel.colors, "vmin": panel.scale[0], "vmax": panel.scale[1]}
        if panel.pixels.ndim == 2
        else {}
    )
    coarse = panel.pixels.shape[0] < 200
    axes.imshow(
        reduced(panel.pixels) if panel.pixels.ndim == 3 else panel.pixels,
        extent=(0, width, height, 0),
        aspect="auto",
        interpolation="none" if coarse else "antialiased",
        **colors,
    )
    if panel.outlined is not None:
        outline(axes, panel.outlined, panel.shape)
    for (x, y), color in panel.marks:
        mark(axes, (x * width, y * height), MARK_COLORS[color % len(MARK_COLORS)])


def mark(axes: Axes, place_in_pixels: Point, color: str, size: float = 44) -> None:
    """A dot that shows on any ground: coloured, with a white and a black ring."""
    axes.scatter(*place_in_pixels, s=1.9 * size, color="black", linewidths=0, zorder=3)
    axes.scatter(*place_in_pixels, s=1.5 * size, color="white", linewidths=0, zorder=4)
    axes.scatter(*place_in_pixels, s=size, color=color, linewidths=0, zorder=5)


def outline(axes: Axes, mask: NDArray[np.bool_], shape: tuple[int, int]) -> None:
    """Lines between the patches of a mask ``(rows, cols)`` and the others, in pixels of ``shape``."""
    rows, cols = np.nonzero(mask[:, 1:] != mask[:, :-1])
    upright = [((col + 1, row), (col + 1, row + 1)) for row, col in zip(rows, cols, strict=True)]
    rows, cols = np.nonzero(mask[1:] != mask[:-1])
    flat = [((col, row + 1), (col + 1, row + 1)) for row, col in zip(rows, cols, strict=True)]
    scale = np.array([shape[1] / mask.shape[1], shape[0] / mask.shape[0]])
    lines = np.array(upright + flat).reshape(-1, 2, 2) * scale
    axes.add_collection(LineCollection(lines, colors=ACCENT, linewidths=0.6), autolim=False)


def reduced(picture: Pixels) -> Pixels:
    """A picture without more pixels than a page shows."""
    if max(picture.shape[:2]) <= SHOWN_PIXELS:
        return picture
    image = Image.fromarray(picture)
    image.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS), Image.Resampling.LANCZOS)
    return np.asarray(image)


def enlarged(values: Pixels, shape: tuple[int, int]) -> Pixels:
    """A map brought to ``(height, width)``: each pixel has the value of the patch that shows it."""
    rows = (np.arange(shape[0]) + 0.5) * values.shape[0] / shape[0]
    cols = (np.arange(shape[1]) + 0.5) * values.shape[1] / shape[1]
    return values[rows.astype(int)[:, None], cols.astype(int)]


def muted(theme: str) -> NDArray[np.float64]:
    """RGB in 0-255 of the page, into which hidden parts of a photograph fade."""
    return 255 * np.array(mpl.colors.to_rgb(THEMES[theme]["figure.facecolor"]))


def faded(picture: Pixels, shown: Pixels, theme: str, strength: float = 0.82) -> Pixels:
    """A photograph whose pixels outside of a mask fade into the page.

    Args:
        picture: uint8 ``(H, W, 3)``.
        shown: bool ``(rows, cols)``.
        theme: of the page.
        strength: how much, up to 1.
    """
    picture = reduced(picture)
    inside = enlarged(shown, sides(picture))[..., None]
    hidden = (1 - strength) * picture + strength * muted(theme)
    return np.where(inside, picture, hidden.round().astype(np.uint8))


def in_lines(panels: Sequence[Panel], columns: int, heading: str = "", bar: str = "") -> list[Row]:
    """Panels in rows of about as many each, at most ``columns``; the first row has the heading."""
    width = math.ceil(len(panels) / math.ceil(len(panels) / columns))
    lines = [tuple(panels[i : i + width]) for i in range(0, len(panels), width)]
    return [Row(line, "" if i else heading, bar, width) for i, line in enumerate(lines)]


def _panel_height(row: Row, width: float, max_height: float) -> float:
    stretches = [panel.stretch for panel in row.panels]
    columns = max(row.columns or 0, len(stretches))
    room = width - 2 * MARGIN - GAP * (columns - 1) - _bar_width(row)
    return min(max_height, room / (columns * sum(stretches) / len(stretches)))


def _row_width(row: Row, height: float) -> float:
    panels = sum(panel.stretch * height for panel in row.panels) + GAP * (len(row.panels) - 1)
    return panels + _bar_width(row)


def _bar_width(row: Row) -> float:
    return GAP + BAR + BAR_LABELS if row.bar else 0.0


def _title(panel: Panel, height: float) -> str:
    """The title in lines that are hardly wider than the panel."""
    return textwrap.fill(panel.title, max(9, int((panel.stretch * height + GAP) / CHARACTER)))


def _above(row: Row, height: float) -> float:
    lines = [_title(panel, height).count("\n") + 1 for panel in row.panels if panel.title]
    return HEADING * bool(row.heading) + (LINE * max(lines) + 0.05 if lines else 0.0)


def _text_height(row: Row, height: float) -> float:
    return _above(row, height) + NOTE * any(panel.note for panel in row.panels)


def _draw_row(canvas: Figure, row: Row, height: float, top: float) -> None:
    if row.heading:
        write(canvas, MARGIN, top, row.heading, fontsize=10.5, fontweight="bold")
    left, top = MARGIN, top + _above(row, height)
    for panel in row.panels:
        width = panel.stretch * height
        show(place(canvas, left, top, width, height), panel)
        middle = left + width / 2
        title = _title(panel, height)
        write(canvas, middle, top - 0.05, title, ha="center", va="bottom", fontsize=8.5)
        quiet = {"fontsize": 7.5, "color": mpl.rcParams["xtick.color"]}
        write(canvas, middle, top + height + 0.05, panel.note, ha="center", **quiet)
        left += width + GAP
    if row.bar:
        maps = [panel for panel in row.panels if panel.pixels.ndim == 2]
        _draw_bar(canvas, place(canvas, left, top, BAR, height), maps[-1], row.bar)


def _draw_bar(canvas: Figure, axes: Axes, shown: Panel, label: str) -> None:
    colors = ScalarMappable(Normalize(*shown.scale), shown.colors)
    bar = canvas.colorbar(colors, cax=axes)
    bar.outline.set_visible(False)
    bar.locator = mpl.ticker.MaxNLocator(4)
    bar.ax.tick_params(labelsize=7, length=2, color=mpl.rcParams["axes.edgecolor"])
    bar.set_label(label, fontsize=8)
