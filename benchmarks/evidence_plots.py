"""Curves of the evidence over steps: mean over seeds, and the band between the smallest and the largest."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from evidence_arms import ARMS
from matplotlib.axes import Axes

from mmrel.visualization.style import figure

PANELS = {
    "knn/top1_k20": "class k-NN, per cent",
    "knn/patch_miou": "patch k-NN, mIoU",
    "propagation": "label propagation, J&F",
    "knn/cosine_within_image": "cosine within an image",
}
"""What is drawn: a curve of the runs, and its title."""


def draw_curves(
    names: Sequence[str], runs: Mapping[str, Mapping[int, Mapping[str, Any]]], path: Path
) -> None:
    """A panel per judge, a line per arm; no file if there is nothing to draw."""
    arms = [name for name in names if has_curves([name], runs)]
    if not arms:
        return
    with figure(path, 12.0, 3.6) as canvas:
        panels = canvas.subplots(1, len(PANELS))
        for axes, (curve, name) in zip(panels, PANELS.items(), strict=True):
            axes.set(title=name, xlabel="step")
            axes.grid(True, linewidth=0.6)
            for number, arm in enumerate(arms):
                _draw_arm(axes, curve, arm, runs[arm], f"C{number % 10}")
        handles, labels = panels[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=5)


def has_curves(names: Sequence[str], runs: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> bool:
    """Whether an arm of these has any."""
    return any(run["curves"] for name in names for run in runs.get(name, {}).values())


def _draw_arm(
    axes: Axes, curve: str, arm: str, runs: Mapping[int, Mapping[str, Any]], color: str
) -> None:
    """Seeds that have the same steps; others would make the mean jump."""
    own = [np.array(run["curves"][curve]) for run in runs.values() if curve in run["curves"]]
    own = [points for points in own if points.shape == own[0].shape]
    if not own:
        return
    steps, values = own[0][:, 0], np.stack([points[:, 1] for points in own])
    axes.plot(
        steps, values.mean(axis=0), color=color, marker="o", markersize=3, label=ARMS[arm].title
    )
    axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, lw=0)
