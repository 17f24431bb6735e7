"""Curves of a pretraining and of the fine-tunings that follow it."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mmrel.visualization.records import Records, names_with, series, smooth
from mmrel.visualization.style import NEUTRAL, PRETRAINED, RANDOM, figure

TERM_NAMES = {
    "loss_cls": "image (class token)",
    "loss_contrast": "contrast (class token)",
    "loss_patch": "masked patches",
    "loss_spatial": "spatial relation",
    "loss_channel": "channel relation",
}
TERM_COLORS = (PRETRAINED, RANDOM, "#2f855a", "#7c3aed", "#b7791f", "#0e7490")
SMOOTHING = 3
"""Log entries that one point of a fine-tuning's curve averages."""

Levels = Mapping[str, float]


def draw_pretraining(records: Records, knn: str, levels: Levels, path: Path) -> None:
    """Losses over iterations, and k-NN accuracy over epochs.

    Args:
        records: the run's scalars.
        knn: name of the accuracy, such as ``knn/top1_k20``.
        levels: horizontal lines for comparison, name to per cent.
        path: PNG file to write.
    """
    with figure(path, 9.6, 3.3) as canvas:
        left, right = canvas.subplots(1, 2)
        _draw_losses(left, records)
        _draw_knn(right, records, knn, levels)


def _draw_losses(axes: Axes, records: Records) -> None:
    for index, name in enumerate(names_with(records, "loss_")):
        points = series(records, name)
        color = TERM_COLORS[index % len(TERM_COLORS)]
        change = points[:, 1] / points[0, 1]
        label, marker = TERM_NAMES.get(name, name), _marker(len(points))
        axes.plot(points[:, 0], change, color=color, label=label, marker=marker)
    axes.set(title="Losses, relative to their first value", xlabel="iteration")
    axes.grid(True, linewidth=0.6)
    axes.legend()


def _marker(count: int) -> str:
    """A single point has no line, so it needs a mark."""
    return "o" if count == 1 else ""


def _draw_knn(axes: Axes, records: Records, knn: str, levels: Levels) -> None:
    points = series(records, knn, over="epoch")
    axes.plot(*points.T, color=PRETRAINED, marker="o", markersize=3.5, label="pretrained")
    for (name, value), line in zip(levels.items(), ("--", ":", "-."), strict=False):
        axes.axhline(value, color=NEUTRAL, linewidth=1.1, linestyle=line, label=name)
    axes.set(title="k-NN accuracy on the validation images, %", xlabel="epoch")
    axes.set_ylim(0, 1.12 * max(points[:, 1].max(), *levels.values()))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(True, linewidth=0.6)
    axes.legend(loc="lower right")


def draw_finetuning(
    runs: Mapping[str, tuple[Records, Records]], labels: tuple[str, str], path: Path
) -> None:
    """Training losses of the same fine-tuning from two initialisations.

    Args:
        runs: title to the scalars of (pretrained, random).
        labels: names of these two.
        path: PNG file to write.
    """
    with figure(path, 9.6, 2.9) as canvas:
        panels = canvas.subplots(1, len(runs), squeeze=False)[0]
        for axes, (title, pair) in zip(panels, runs.items(), strict=True):
            named = zip(pair, labels, (PRETRAINED, RANDOM), strict=True)
            for records, label, color in named:
                points = series(records, "loss")
                values, marker = smooth(points[:, 1], SMOOTHING), _marker(len(points))
                axes.plot(points[:, 0], values, color=color, label=label, marker=marker)
            axes.set(title=title, xlabel="iteration")
            axes.grid(True, linewidth=0.6)
            axes.legend()
