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
SHOWN = "Attention"
"""The first of them: what has it has all."""
PHOTOS = "photographs.png"
WIDTH, ROW = 12.0, 1.4
"""Of a figure and of one of its rows, in inches."""
LABEL = 18
"""Characters of a line beside a row."""


def keep_pictures(drawn: Path, results: Path, arm: str) -> None:
    """Copy the strips that an arm's judges drew beside its figures, and the photographs, which all arms have alike.

    Raises:
        FileNotFoundError: they drew none.
    """
    kept = folder_of(results)
    kept.mkdir(parents=True, exist_ok=True)
    for strip in STRIPS:
        shutil.copyfile(_newest(drawn, strip), strip_of(kept, arm, strip))
    shutil.copyfile(_newest(drawn, f"{SHOWN}-photographs"), kept / PHOTOS)


def folder_of(results: Path) -> Path:
    """Where the strips of a data set's runs are kept."""
    return results / "pictures"


def strip_of(kept: Path, arm: str, strip: str) -> Path:
    """An arm's file there."""
    return kept / f"{arm}-{strip}.png"


def shown_arms(results: Path) -> set[str]:
    """Arms of which there are strips."""
    found = folder_of(results).glob(f"*-{SHOWN}.png")
    return {path.name.removesuffix(f"-{SHOWN}.png") for path in found}


def draw_pictures(arms: Sequence[str], results: Path, path: Path) -> None:
    """A row per arm below the photographs; no file without arms."""
    if not arms:
        return
    kept = folder_of(results)
    rows = [
        ("photographs", [kept / PHOTOS]),  # once: they are most of the file's bytes
        *((ARMS[name].title, [strip_of(kept, name, strip) for strip in STRIPS]) for name in arms),
    ]
    with figure(path, WIDTH, ROW * len(rows)) as canvas:
        panels = canvas.subplots(len(rows), len(STRIPS))
        for axes, (title, files) in zip(panels, rows, strict=True):
            for one in axes:
                hide_axes(one)
            for one, file in zip(axes, files, strict=False):
                one.imshow(np.asarray(Image.open(file).convert("RGB")))
            axes[0].set_ylabel(textwrap.fill(title, LABEL), labelpad=4)
        for one, title in zip(panels[1], STRIPS.values(), strict=True):
            one.set_title(title)


def _newest(drawn: Path, name: str) -> Path:
    """A picture of that name; what was drawn before with other settings may lie there, too."""
    found = sorted(drawn.glob(f"*-{name}.png"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(
            f"{drawn} has no *-{name}.png, though there was a judge that draws it"
        )
    return found[-1]
