"""A user's data as mmdet and mmseg read them: converted into the work dir, with what the choices need to know."""

import os
from collections.abc import Sequence
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from mmrel.apis.choices import Choice
from mmrel.datasets.annotations.files import upright_size
from mmrel.datasets.annotations.mask_classes import Color

MAX_SIZES, MAX_NAMED = 2000, 6
GOLDEN_SECTION = 0.618034


@dataclass(frozen=True)
class PreparedData:
    """Converted data.

    Attributes:
        source: what it was read from, in words.
        root: folder that the images are named relative to.
        train_file: COCO file, or list of masks.
        val_file: likewise.
        classes: names in the order of their numbers.
        palette: a colour for each.
        sizes: (width, height) of training images.
        num_train: number of training images.
        choices: lines of the table.
        warnings: sentences about what was passed over.
        with_masks: of detection: whether every object has an outline.
        why_boxes: of detection: why not.
        object_side: of detection: half of the objects are smaller, in pixels of the original images.
        workers: loader processes.
    """

    source: str
    root: Path
    train_file: Path
    val_file: Path
    classes: tuple[str, ...]
    palette: tuple[Color, ...]
    sizes: tuple[tuple[int, int], ...]
    num_train: int
    choices: tuple[Choice, ...]
    warnings: tuple[str, ...]
    with_masks: bool = False
    why_boxes: str = ""
    object_side: float = 0.0
    workers: int = 0

    def metainfo(self) -> dict[str, Any]:
        """As data sets of OpenMMLab take it; mmdet's visualizer wants colours as tuples."""
        return dict(classes=list(self.classes), palette=list(self.palette))

    def scale_to(self, size: int) -> float:
        """By how much images grow when their short side becomes ``size`` pixels."""
        return size / median(min(own) for own in self.sizes)

    def aspect(self) -> float:
        """Long side over short side, of half of the images."""
        return median(max(own) / min(own) for own in self.sizes)


def common_root(images: Sequence[Path]) -> Path:
    """The folder that all images are in or below."""
    return Path(os.path.commonpath([os.path.abspath(path.parent) for path in images]))  # noqa: PTH100 - links stay


def some_sizes(images: Sequence[Path]) -> tuple[tuple[int, int], ...]:
    """(width, height) of up to 2000 images, spread evenly."""
    chosen = np.linspace(0, len(images) - 1, min(len(images), MAX_SIZES)).round().astype(int)
    return tuple(upright_size(images[index]) for index in chosen)


def bright_colors(count: int) -> tuple[Color, ...]:
    """Colours that are told apart over a photo: hues a golden section apart, so that neighbours differ most."""
    hues = [(0.02 + GOLDEN_SECTION * number) % 1 for number in range(count)]
    colors = [hsv_to_rgb(hue, 0.85, (0.95, 0.75)[number % 2]) for number, hue in enumerate(hues)]
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colors)


def describe_classes(classes: Sequence[str], counts: Sequence[int], what: str) -> Choice:
    """The line of the table about classes: their number, names, and how often they occur in training."""
    shown = [f"{name} {count}" for name, count in zip(classes, counts, strict=True)][:MAX_NAMED]
    more = f", and {len(classes) - MAX_NAMED} more" if len(classes) > MAX_NAMED else ""
    return Choice("classes", str(len(classes)), f"{what} to train on: {', '.join(shown)}{more}")
