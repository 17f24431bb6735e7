"""Pictures of several images in a row, of one size for all networks, so that they can stand below each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mmrel.visualization.panels import Panel, Row, draw_rows

HEIGHT = 1.7
"""Of a picture, in inches."""

SHOWN_SIDE = 480
"""Short side in pixels at which larger photographs are looked at, as DINO's attention maps have it."""


def photo(pixels: NDArray[Any]) -> Panel:
    """A picture as it is."""
    return Panel(pixels, shape_of(pixels))


def shape_of(picture: NDArray[Any]) -> tuple[int, int]:
    """Height and width."""
    return picture.shape[0], picture.shape[1]


def draw_strips(rows: Sequence[Sequence[Panel]], path: Path) -> None:
    """Write the rows as one figure."""
    draw_rows([Row(tuple(panels)) for panels in rows], path, max_height=HEIGHT)


def shown_size(pictures: Sequence[NDArray[Any]]) -> int | None:
    """Short side to look at: their own, or 480 pixels if one of them is larger."""
    sides = [min(picture.shape[:2]) for picture in pictures]
    return SHOWN_SIDE if max(sides) > SHOWN_SIDE else None
