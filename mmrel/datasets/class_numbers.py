"""From the classes that a source has to numbers: labels are positions in a list of names."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmrel.datasets.sources import Classes
from mmrel.datasets.sources.base import NO_CLASS
from mmrel.utils.text import listed


class Numbering(NamedTuple):
    """Numbers of classes.

    Attributes:
        names: what the numbers stand for.
        folder_to_idx: the number of each class as the source names it.
        used: the names of which there are images.
        labels: int32 ``(N,)``; -1 for an image without a class.
    """

    names: tuple[str, ...]
    folder_to_idx: dict[str, int]
    used: frozenset[str]
    labels: NDArray[np.int32]


def number_classes(root: str, found: Classes, given: Sequence[str] | None) -> Numbering:
    """Number the classes: by the given names if these know them, else in the source's order.

    Args:
        root: what to call the source.
        found: its classes.
        given: all names in an order of their own; or one new name for each class; or ``None``.

    Raises:
        ValueError: some classes are among the given ones, but not all of which there are images.
    """
    used = _used(found)
    if empty := [name for name in found.names if name not in used]:
        print_log(f"{root}: no image in {listed(empty)}", "current", logging.WARNING)
    positions = None if given is None else _positions(found, given)
    names = found.names if given is None else tuple(given)
    if positions is None:
        known = {name: i for i, name in enumerate(names)}
        if unknown := sorted(used - known.keys()):
            raise ValueError(
                f"{root} has images in {len(unknown)} folder(s) that are not among the {len(names)} given "
                f"classes: {listed(unknown)}. Give `classes` all names of the folders, or one new name for each of "
                f"the {len(found.names)} folders in their sorted order, or leave it away"
            )
        positions = {name: known.get(name, NO_CLASS) for name in found.names}
    moved = np.array([*positions.values(), NO_CLASS], np.int32)
    shown = frozenset(names[positions[name]] for name in used)
    return Numbering(names, positions, shown, moved[found.ids])


def _used(found: Classes) -> set[str]:
    counts = np.bincount(found.ids[found.ids >= 0], minlength=len(found.names))
    return {name for name, count in zip(found.names, counts, strict=True) if count}


def _positions(found: Classes, given: Sequence[str]) -> dict[str, int] | None:
    """Where the given names are new ones for the source's classes: which is which."""
    if not set(given).isdisjoint(found.names):
        return None
    if found.numbers and all(int(name) < len(given) for name in found.names):
        return {name: int(name) for name in found.names}
    same = len(given) == len(found.names)
    return {name: i for i, name in enumerate(found.names)} if same else None
