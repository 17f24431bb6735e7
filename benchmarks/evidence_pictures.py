"""The same three images as each arm's network sees them: attention, similarity and principal components."""

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from evidence_arms import ARMS
from PIL import Image

from mmrel.visualization.style import figure, hide_axes

STRIPS = {
    "Attention": "attention",
    "Similarity": "similarity to the middle patch",
    "Principal-components": "principal components",
}
"""As the judges' files of them end, and their titles."""
PHOTOS = "Attention-photographs"
WIDTH, ROW = 12.0, 1.4
"""Of a figure and of one of its rows, in inches."""
LABEL = 18
"""Characters of a line beside a row."""


def keep_pictures(drawn: Path, results: Path, arm: str) -> None:
    """Copy the strips that an arm's judges drew beside its figures.

    Raises:
        FileNotFoundError: they drew none.
    """
    kept = folder_of(results)
    kept.mkdir(parents=True, exist_ok=True)
    for strip in (PHOTOS, *STRIPS):
        found = sorted(drawn.glob(f"*-{strip}.png"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise FileNotFoundError(f"{drawn} has no *-{strip}.png, though {arm} was judged")
        shutil.copyfile(found[-1], kept / f"{arm}-{strip}.png")


def folder_of(results: Path) -> Path:
    """Where the strips of a data set's runs are kept."""
    return results / "pictures"


def shown_arms(results: Path) -> set[str]:
    """Arms of which there are strips."""
    return {
        path.name.removesuffix(f"-{PHOTOS}.png")
        for path in folder_of(results).glob(f"*-{PHOTOS}.png")
    }


def draw_pictures(arms: Sequence[str], results: Path, path: Path) -> None:
    """A row per arm below the photographs; no file without arms."""
    if not arms:
        return
    kept = folder_of(results)
    rows = [
        ("photographs", [kept / f"{arms[0]}-{PHOTOS}.png"] * len(STRIPS)),
        *((ARMS[name].title, [kept / f"{name}-{strip}.png" for strip in STRIPS]) for name in arms),
    ]
    with figure(path, WIDTH, ROW * len(rows)) as canvas:
        panels = canvas.subplots(len(rows), len(STRIPS))
        for axes, (title, files) in zip(panels, rows, strict=True):
            for one, file in zip(axes, files, strict=True):
                one.imshow(np.asarray(Image.open(file).convert("RGB")))
                hide_axes(one)
            axes[0].set_ylabel(textwrap.fill(title, LABEL), labelpad=4)
        for one, title in zip(panels[0], STRIPS.values(), strict=True):
            one.set_title(title)
