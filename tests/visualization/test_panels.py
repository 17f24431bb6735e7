"""Panels keep their aspect ratio, leave no gap, and show what they are given."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrel.visualization.panels import (
    DPI,
    GAP,
    MARGIN,
    Panel,
    Row,
    draw_rows,
    enlarged,
    faded,
    in_lines,
    reduced,
)


def plain(color: tuple[int, int, int], shape: tuple[int, int]) -> Panel:
    return Panel(np.full((*shape, 3), color, dtype=np.uint8), shape)


def extent(pixels: np.ndarray, color: tuple[int, int, int]) -> tuple[int, int]:
    """Height and width in pixels of what has a colour."""
    rows, cols = np.nonzero((pixels == color).all(axis=-1))
    return rows.max() - rows.min() + 1, cols.max() - cols.min() + 1


@pytest.mark.parametrize("shape", [(100, 100), (100, 163), (180, 100), (100, 500)])
def test_rows__aspect_ratio_and_page(tmp_path: Path, shape: tuple[int, int]) -> None:
    row = Row((plain((200, 0, 0), shape), plain((0, 0, 200), (100, 100))))
    draw_rows([row], tmp_path / "x.png")
    pixels = np.asarray(Image.open(tmp_path / "x.png").convert("RGB"))
    height, width = extent(pixels, (200, 0, 0))
    assert width / height == pytest.approx(shape[1] / shape[0], rel=0.02)
    square = extent(pixels, (0, 0, 200))
    assert abs(square[0] - height) <= 2 and abs(square[1] - height) <= 2
    page = (width + square[1]) / DPI + GAP + 2 * MARGIN
    assert pixels.shape[1] / DPI == pytest.approx(max(page, 3.6 + 2 * MARGIN), abs=0.03)
    assert pixels.shape[1] / DPI <= 9.61


def test_rows__map_on_the_photographs_shape(tmp_path: Path) -> None:
    """A map of 2 x 2 patches is drawn in the shape of its photograph, its first value at the upper left."""
    values = np.array([[0.0, 1.0], [1.0, 1.0]])
    draw_rows([Row((Panel(values, (100, 200)),))], tmp_path / "x.png")
    pixels = np.asarray(Image.open(tmp_path / "x.png").convert("RGB"))
    height, width = extent(pixels, (0, 0, 3))  # magma's first colour
    assert width / height == pytest.approx(2, rel=0.02)
    rows, cols = np.nonzero((pixels == (0, 0, 3)).all(axis=-1))
    assert rows.min() == pytest.approx(MARGIN * DPI, abs=2)
    assert cols.min() == pytest.approx(MARGIN * DPI, abs=2)


def test_in_lines__even_and_headed_once() -> None:
    panels = [plain((0, 0, 0), (1, 1))] * 7
    rows = in_lines(panels, 5, "title", "bar")
    assert [len(row.panels) for row in rows] == [4, 3]
    assert [row.heading for row in rows] == ["title", ""]
    assert all(row.columns == 4 and row.bar == "bar" for row in rows)


def test_enlarged__nearest_patch() -> None:
    values = np.arange(6).reshape(2, 3)
    assert (enlarged(values, (4, 6)) == values.repeat(2, 0).repeat(2, 1)).all()
    assert enlarged(values, (3, 3)).tolist() == [[0, 1, 2], [3, 4, 5], [3, 4, 5]]


def test_faded__only_outside_of_the_mask() -> None:
    picture = np.full((4, 4, 3), 100, dtype=np.uint8)
    mask = np.array([[True, False], [False, False]])
    found = faded(picture, mask, "light", strength=0.8)
    assert (found[:2, :2] == 100).all()
    assert (found[2:] == round(0.2 * 100 + 0.8 * 255)).all()
    assert (faded(picture, mask, "dark", strength=0.8)[2:, 2:] < 60).all()


def test_reduced__large_photographs_only() -> None:
    small = np.zeros((30, 40, 3), dtype=np.uint8)
    assert reduced(small) is small
    assert reduced(np.zeros((1000, 2000, 3), dtype=np.uint8)).shape == (450, 900, 3)
