"""The look of all figures: one set of colours and sizes, drawn without a display."""

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

RULES: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9ca3af",
    "axes.labelcolor": "#374151",
    "axes.titlecolor": "#111827",
    "text.color": "#111827",
    "xtick.color": "#4b5563",
    "ytick.color": "#4b5563",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "grid.color": "#e5e7eb",
    "lines.linewidth": 1.6,
}


@contextmanager
def figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure that is saved as PNG when the block ends without an error.

    Args:
        path: file to write; its folder is created.
        width: in inches, at 150 dots per inch.
        height: in inches.
    """
    with mpl.rc_context(RULES):
        canvas = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        FigureCanvasAgg(canvas)
        yield canvas
        write_atomically(path, lambda file: canvas.savefig(file, dpi=150, format="png"))


def hide_axes(axes: Axes) -> None:
    """Remove ticks and frame, keep title and labels."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
