"""The look of all figures: colours and sizes for light and dark pages, drawn without a display."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmrel.utils.files import write_atomically

PRETRAINED = "#1f5fa8"
RANDOM = "#c4651a"
NEUTRAL = "#6b7280"
ACCENT = "#d6336c"
SEQUENTIAL = "magma"
DIVERGING = "RdBu_r"

RULES: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    # Text stays text in vector files, and the same figure gives the same bytes.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "mmrel",
}


def _colors(page: str, text: str, label: str, muted: str, edge: str, grid: str) -> dict[Any, Any]:
    return {
        "figure.facecolor": page,
        "savefig.facecolor": page,
        "axes.facecolor": page,
        "axes.edgecolor": edge,
        "axes.labelcolor": label,
        "axes.titlecolor": text,
        "text.color": text,
        "xtick.color": muted,
        "ytick.color": muted,
        "grid.color": grid,
    }


THEMES = {
    "light": _colors("#ffffff", "#111827", "#374151", "#4b5563", "#9ca3af", "#e5e7eb"),
    "dark": _colors("#0f141b", "#f3f4f6", "#d1d5db", "#a8b0bc", "#4b5563", "#29313c"),
}
FORMATS = ("png", "pdf", "svg")
# The time of writing would make equal figures differ.
_NO_DATE: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


def figure_format(path: Path) -> str:
    """Format of a figure, by the ending of its file name.

    Raises:
        ValueError: no such format.
    """
    ending = path.suffix.lower().lstrip(".")
    if ending not in FORMATS:
        raise ValueError(
            f"the figure's file is {path.name!r}; its name must end with .png, or for vector graphics with .pdf or .svg"
        )
    return ending


@contextmanager
def figure(
    path: Path, width: float, height: float, theme: str = "light", dpi: int = 150
) -> Iterator[Figure]:
    """A figure that is saved when the block ends without an error.

    Args:
        path: file to write, PNG, PDF or SVG by its ending; its folder is created.
        width: in inches.
        height: in inches.
        theme: ``'light'`` or ``'dark'``: colours of the page and of text; also of what is drawn in the block.
        dpi: dots per inch of a PNG file, and of pictures in the others.

    Raises:
        ValueError: an unknown theme or ending.
    """
    if theme not in THEMES:
        raise ValueError(f"theme is {theme!r}; choose from {', '.join(THEMES)}")
    kind = figure_format(path)
    with mpl.rc_context({**RULES, **THEMES[theme]}):
        canvas = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(canvas)
        yield canvas
        metadata = _NO_DATE.get(kind)
        write_atomically(
            path, lambda file: canvas.savefig(file, dpi=dpi, format=kind, metadata=metadata)
        )


def hide_axes(axes: Axes) -> None:
    """Remove ticks and frame, keep title and labels."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
