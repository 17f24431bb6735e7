"""ELPV: electroluminescence pictures of solar cells, each with a type and the probability of a defect.

Buerhop-Lutz et al., "A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery",
EU PVSEC 2018. It is published without splits, so one is drawn.
"""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from mmrel.datasets.converters.folders import Entry
from mmrel.datasets.converters.source import Source, WrongLayoutError

NAME = "ELPV"
LABELS = "labels.csv"
INSTALLED = Path("installed")
"""Stands for the folder of the installed package, wherever that is."""

DEFECTIVE = 0.5
"""The least probability of a defective cell: two of three judgements."""

VAL_SHARE = 0.25
LINE = re.compile(r"(?P<image>\S+)\s+(?P<probability>0(\.\d+)?|1(\.0+)?)\s+(?P<type>mono|poly)")


class Cell(NamedTuple):
    """A line of the list: the image beside the list, and the name of its class."""

    image: str
    label: str


def convert_elpv(path: Path, seed: int = 0, by_type: bool = True) -> Iterator[Entry]:
    """Entries of ``train`` (1968 images) and ``val`` (656), drawn at random from all cells.

    Args:
        path: the wheel of ``elpv-dataset``, its folder, or a checkout of its repository; or ``installed``.
        seed: of the split, which depends on it and the images' names alone: it is the same for both sets of classes.
        by_type: four classes, ``mono_functional`` to ``poly_defective``, instead of ``functional`` and ``defective``.

    Raises:
        ModuleNotFoundError: ``installed``, but it is not.
        WrongLayoutError: a line of the list cannot be read or names an image again, or an image is missing.
    """
    source = Source(installed_package() if path == INSTALLED else path, (LABELS,), NAME)
    cells = _cells(source, by_type)
    held_out = _draw(sorted(cells), seed)
    for name, cell in cells.items():
        split = "val" if name in held_out else "train"
        yield Entry(split, cell.label, name, source.read(cell.image))


def installed_package() -> Path:
    """The folder of the installed package, of which nothing is imported.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    spec = find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the package elpv-dataset is not installed: pip install 'mmrel[evidence]' brings it (91 MB, "
            "CC BY-NC-SA 4.0). Or give its wheel, or a checkout of its repository, in place of 'installed'"
        )
    return Path(spec.submodule_search_locations[0])


def _cells(source: Source, by_type: bool) -> dict[str, Cell]:
    """The lines of the list by file name of their image."""
    cells: dict[str, Cell] = {}
    for number, line in source.numbered_lines(LABELS):
        match = LINE.fullmatch(line.strip())
        where = f"{NAME}: line {number} of {source.root}{LABELS} in {source.path}"
        if match is None:
            raise WrongLayoutError(
                f"{where} is {line[:80]!r}; wanted an image, a probability from 0 to 1 and a type, mono or poly, such "
                "as 'images/cell0001.png  1.0  mono'. Download it again"
            )
        name = PurePosixPath(match["image"]).name
        if name in cells:
            raise WrongLayoutError(f"{where} names {name} for the second time. Download it again")
        state = "defective" if float(match["probability"]) >= DEFECTIVE else "functional"
        label = f"{match['type']}_{state}" if by_type else state
        cells[name] = Cell(match["image"], label)
    if not cells:
        raise WrongLayoutError(
            f"{NAME}: {source.root}{LABELS} in {source.path} names no image. Download it again"
        )
    return cells


def _draw(names: list[str], seed: int) -> set[str]:
    """The images that are held out."""
    order = np.random.default_rng(seed).permutation(len(names))
    return {names[i] for i in order[: round(VAL_SHARE * len(names))]}
