"""The fused kernels of the colour augmentation, interpreted, against torch's operations one after the other."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from interpreted import interpreted
from torch import Tensor

from mmrel.models.data_preprocessors import augment
from mmrel.models.data_preprocessors.color_plan import ColorPlan
from mmrel.ops.color_table import ColorColumn, neutral_table
from mmrel.ops.colors import Tile, augment_colors

pytest.importorskip("triton", reason="the kernels are written in Triton")
MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.1])
NEUTRAL = 5
"""Every so many images, one is left alone."""


def random_table(rows: int) -> Tensor:
    """All orders; every operation in some rows; the last column mirrors."""
    rng = np.random.default_rng(0)
    table = neutral_table(rows)
    table[:, :3] = rng.uniform(0.6, 1.4, (rows, 3))
    table[:, ColorColumn.HUE] = rng.uniform(-0.1, 0.1, rows)
    table[:, ColorColumn.ORDER] = np.arange(rows) % 24
    table[:, ColorColumn.GRAYSCALE] = rng.random(rows) < 0.3
    table[:, ColorColumn.BLUR_SIGMA] = rng.uniform(0.1, 2, rows) * (rng.random(rows) < 0.5)
    table[rng.random(rows) < 0.5, ColorColumn.SOLARIZE] = 128
    table[::NEUTRAL] = neutral_table(1)
    flips = (rng.random((rows, 1)) < 0.5).astype(np.float32)
    return torch.from_numpy(np.concatenate([table.astype(np.float32), flips], axis=1))


class Case(NamedTuple):
    """One call of ``augment_colors``."""

    images: Tensor
    table: Tensor
    later: tuple[bool, bool] = (True, True)
    normalization: tuple[Tensor, Tensor] | None = None

    @property
    def taps(self) -> int:
        return augment.fit_kernel_size(13, *self.images.shape[-2:])

    @property
    def arguments(self) -> tuple:
        return (self.images, self.table, self.taps, self.later, self.normalization)

    def expected(self) -> Tensor:
        """By torch's operations."""
        table = self.table[:, : len(ColorColumn)].clone()
        for applies, column in zip(self.later, (6, 7), strict=True):
            if not applies:
                table[:, column] = float(neutral_table(1)[0, column])
        images = self.images.clone()
        if self.table.shape[1] > len(ColorColumn):
            images = augment.flip(images, self.table[:, -1] > 0)
        plan = ColorPlan.from_table(table, torch.device("cpu"))
        bounded = images.dtype == torch.uint8
        result = plan.apply(augment.to_unit_range(images), self.taps, bounded)
        if self.normalization is not None:
            result = augment.normalize(result, *(v.view(3, 1, 1) for v in self.normalization))
        return result


def bytes_of(count: int, height: int, width: int) -> Tensor:
    """Random images; one is grey, one has only the extreme values."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=rng)
    images[-1] = images[-1, :1]
    images[-2] = (images[-2] > 127) * 255
    return images


CASES = {
    "all orders, several images to a program": Case(bytes_of(26, 4, 4), random_table(26)),
    "several programs to an image, 13 taps": Case(
        bytes_of(3, 37, 30), random_table(30)[[1, 5, 8]], normalization=(MEAN, STD)
    ),
    "any values, neither flip, blur nor solarisation": Case(
        torch.randn(26, 3, 2, 5, generator=torch.Generator().manual_seed(1)),
        random_table(26)[:, :-1],
        later=(False, False),
        normalization=(MEAN, STD),
    ),
    "solarisation alone": Case(bytes_of(7, 3, 3), random_table(7), later=(False, True)),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict:
    calls = {name: ("mmrel.ops.colors:augment_colors", c.arguments) for name, c in CASES.items()}
    folder: Path = tmp_path_factory.mktemp("kernels")
    return interpreted(calls, folder)


@pytest.mark.parametrize("name", CASES)
def test_kernels__equal_torch_operations(name: str, results: dict) -> None:
    """To 2e-6 of the unit range. Solarisation jumps at its threshold, so values close to it are left out."""
    case, found = CASES[name], results[name][0]
    wanted = case.expected()
    unit = STD.view(3, 1, 1) if case.normalization is not None else 1.0
    difference = (found - wanted).abs() * unit
    jumped = difference > 1e-3
    assert found.dtype == torch.float32 and found.shape == case.images.shape
    assert difference[~jumped].max() <= 2e-6
    assert jumped.sum() <= 1


@pytest.mark.parametrize("name", CASES)
def test_kernels__leave_other_images_exactly_alone(name: str, results: dict) -> None:
    case, found = CASES[name], results[name][0]
    neutral = (case.table[:, :8] == torch.from_numpy(neutral_table(1))).all(dim=1)
    assert torch.equal(found[neutral], case.expected()[neutral])
    assert torch.equal(results[name][1][0], case.images)


def test_kernels__neutral_images_are_among_the_cases() -> None:
    tables = [case.table[:, :8] for case in CASES.values()]
    assert sum(int((t == torch.from_numpy(neutral_table(1))).all(1).sum()) for t in tables) >= 10


@pytest.mark.parametrize(("pixels", "total"), [(16, 1024), (50176, 1024), (1024, 512), (5, 64)])
def test_tile__covers_images_once(pixels: int, total: int) -> None:
    tile = Tile.of(pixels, total)
    assert tile.group * tile.span == total
    images, spans = tile.grid(100, pixels)
    assert (images - 1) * tile.group < 100 <= images * tile.group
    assert (spans - 1) * tile.span < pixels <= spans * tile.span


def test_operators__tell_shapes_without_data() -> None:
    images = torch.empty(2, 3, 40, 36, dtype=torch.uint8, device="meta")
    result = augment_colors(images, torch.empty(2, 9, device="meta"), 13)
    assert (result.shape, result.dtype) == (images.shape, torch.float32)
    sums = torch.ops.mmrel.sum_gray(images, torch.empty(2, 9, device="meta"))
    assert sums.shape == (2, 2)


@pytest.mark.parametrize(
    ("images", "table", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, 8), r"\(n, 3, h, w\), but .* \(2, 1, 4, 4\)"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.float64), torch.zeros(2, 8), "torch.float64"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(3, 8), r"\(2, 8 or 9\), .* \(3, 8\)"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 10), r"\(2, 10\)"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 8).double(), "table must be float32"),
    ],
)
def test_augment_colors__refuses(images: Tensor, table: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augment_colors(images, table, 3)
