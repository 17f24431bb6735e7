"""Batched colour operations equal torchvision's on the same parameters, image by image."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from reference.augment import augment_image
from torch import Tensor

from mmrel.models.data_preprocessors import augment
from mmrel.models.data_preprocessors.color_plan import ColorPlan
from mmrel.ops.color_table import JITTER_ORDERS, ColorColumn, neutral_table
from mmrel.ops.colors import augment_colors

FACTORS = torch.tensor([0.0, 0.3, 1.0, 1.4, 2.5])
SHIFTS = torch.tensor([-0.5, -0.1, 0.0, 0.05, 0.5])


@pytest.fixture(params=[(24, 20), (7, 3)])
def images(request: pytest.FixtureRequest) -> Tensor:
    """Five images; one is grey, one has only the extreme values."""
    torch.manual_seed(0)
    batch = torch.rand(5, 3, *request.param)
    batch[1] = batch[1, :1]
    batch[2] = batch[2].round()
    return batch


def one_by_one(operation, images: Tensor, values: Tensor) -> Tensor:
    return torch.stack([operation(i, float(v)) for i, v in zip(images, values, strict=True)])


@pytest.mark.parametrize(
    ("batched", "single", "values", "tolerance"),
    [
        (augment.adjust_brightness, tv.adjust_brightness, FACTORS, 1e-6),
        (augment.adjust_contrast, tv.adjust_contrast, FACTORS, 2e-6),
        (augment.adjust_saturation, tv.adjust_saturation, FACTORS, 1e-6),
        (augment.adjust_hue, tv.adjust_hue, SHIFTS, 1e-5),
        (augment.solarize, tv.solarize, FACTORS / 2.5, 0.0),
    ],
)
def test_operation__equals_torchvision(images, batched, single, values, tolerance) -> None:
    expected = one_by_one(single, images, values)
    assert (batched(images.clone(), values) - expected).abs().max() <= tolerance


@pytest.mark.parametrize("kernel_size", [5, 13])
def test_gaussian_blur__equals_torchvision(images: Tensor, kernel_size: int) -> None:
    sigma = torch.tensor([0.1, 0.5, 1.0, 1.5, 2.0])
    size = augment.fit_kernel_size(kernel_size, *images.shape[-2:])
    expected = one_by_one(lambda i, s: tv.gaussian_blur(i, size, s), images, sigma)
    assert (augment.gaussian_blur(images, sigma, kernel_size) - expected).abs().max() <= 1e-6


def test_gaussian_blur__keeps_constant_images() -> None:
    images = torch.full((2, 3, 9, 9), 0.3)
    blurred = augment.gaussian_blur(images, torch.tensor([0.1, 2.0]), 13)
    assert (blurred - 0.3).abs().max() < 1e-6


def test_to_grayscale__equals_torchvision(images: Tensor) -> None:
    assert (augment.to_grayscale(images) - tv.rgb_to_grayscale(images, 3)).abs().max() <= 1e-6


def test_flip__equals_torchvision(images: Tensor) -> None:
    flags = torch.tensor([True, False, True, False, False])
    result = augment.flip(images, flags)
    assert torch.equal(result[flags], tv.horizontal_flip(images[flags]))
    assert torch.equal(result[~flags], images[~flags])


def test_normalize__equals_torchvision(images: Tensor) -> None:
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.1])
    expected = tv.normalize(images, mean.tolist(), std.tolist())
    result = augment.normalize(images.clone(), mean.view(3, 1, 1), std.view(3, 1, 1))
    assert (result - expected).abs().max() <= 1e-6


def test_to_unit_range__equals_torchvision() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    expected = tv.to_dtype(images, torch.float32, scale=True)
    assert (augment.to_unit_range(images) - expected).abs().max() <= 1e-7


def random_table(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    table = neutral_table(rows)
    table[:, :3] = rng.uniform(0.6, 1.4, (rows, 3))
    table[:, ColorColumn.HUE] = rng.uniform(-0.1, 0.1, rows)
    table[:, ColorColumn.ORDER] = np.arange(rows) % 24
    table[:, ColorColumn.GRAYSCALE] = rng.random(rows) < 0.3
    table[:, ColorColumn.BLUR_SIGMA] = rng.uniform(0.1, 2, rows) * (rng.random(rows) < 0.5)
    table[rng.random(rows) < 0.3, ColorColumn.SOLARIZE] = 128
    table[::5] = neutral_table(1)
    return table.astype(np.float32)


def test_plan__equals_torchvision_in_every_order() -> None:
    """Solarisation jumps at its threshold, so values close to it are left out."""
    torch.manual_seed(1)
    images = torch.rand(48, 3, 16, 16)
    table = random_table(48, 0)
    plan = ColorPlan.from_table(torch.from_numpy(table), torch.device("cpu"))
    result = plan.apply(images.clone(), 13)
    expected = torch.stack(
        [augment_image(image, row, 13) for image, row in zip(images, table, strict=True)]
    )
    unsolarized = table.copy()
    unsolarized[:, ColorColumn.SOLARIZE] = 256
    before = torch.stack(
        [augment_image(image, row, 13) for image, row in zip(images, unsolarized, strict=True)]
    )
    clear = (before - 128 / 255).abs() > 3e-5
    assert ((result - expected).abs() * clear).max() <= 3e-5
    assert clear.float().mean() > 0.999


def test_plan__neutral_rows_change_nothing() -> None:
    images = torch.rand(6, 3, 8, 8)
    table = random_table(6, 3)
    table[[1, 4]] = neutral_table(2)
    plan = ColorPlan.from_table(torch.from_numpy(table), torch.device("cpu"))
    result = plan.apply(images.clone(), 13)
    assert torch.equal(result[[0, 1, 4, 5]], images[[0, 1, 4, 5]])
    assert not torch.equal(result[2], images[2])


def test_plan__all_neutral_does_no_work() -> None:
    plan = ColorPlan.from_table(torch.from_numpy(neutral_table(3)), torch.device("cpu"))
    assert all(step.coefficients is None and step.hue is None for step in plan.jitter)
    assert plan.gray is plan.blur is plan.solarize is None


def test_plan__rows_do_not_depend_on_their_batch() -> None:
    images = torch.rand(10, 3, 8, 8)
    table = torch.from_numpy(random_table(10, 4))
    whole = ColorPlan.from_table(table, torch.device("cpu")).apply(images.clone(), 5)
    for i in range(10):
        plan = ColorPlan.from_table(table[i : i + 1], torch.device("cpu"))
        alone = plan.apply(images[i : i + 1].clone(), 5)
        assert (whole[i] - alone[0]).abs().max() <= 1e-6


def test_orders__are_all_permutations() -> None:
    assert JITTER_ORDERS.shape == (24, 4)
    assert len({tuple(order) for order in JITTER_ORDERS.tolist()}) == 24


def planned_on_gpu(images: Tensor, table: Tensor) -> Tensor:
    """What the plan makes of images on a GPU, without a wait."""
    device = torch.device("cuda")
    on_device = images.to(device)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        return ColorPlan.from_table(table, device).apply(on_device, 13)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_plan__on_a_gpu_waits_for_nothing() -> None:
    images, table = torch.rand(24, 3, 32, 32), torch.from_numpy(random_table(24, 5))
    assert planned_on_gpu(images, table).shape == images.shape


@pytest.mark.gpu
def test_plan__cuda_equals_cpu() -> None:
    images, table = torch.rand(24, 3, 32, 32), torch.from_numpy(random_table(24, 5))
    table[:, ColorColumn.SOLARIZE] = 256
    expected = ColorPlan.from_table(table, torch.device("cpu")).apply(images.clone(), 13)
    assert (planned_on_gpu(images, table).cpu() - expected).abs().max() <= 1e-5


@pytest.mark.gpu
def test_kernels__cuda_equals_cpu() -> None:
    """The fused kernels, on uint8 and on values outside [0, 1]; neutral images exactly."""
    table = torch.from_numpy(random_table(48, 5))
    table[:, ColorColumn.SOLARIZE] = 256
    plan = ColorPlan.from_table(table, torch.device("cpu"))
    for images in (torch.randint(0, 256, (48, 3, 40, 36)).byte(), torch.randn(48, 3, 8, 8)):
        bounded = images.dtype == torch.uint8
        expected = plan.apply(augment.to_unit_range(images).clone(), 13, bounded)
        found = augment_colors(images.cuda(), table.cuda(), 13).cpu()
        assert (found - expected).abs().max() <= 1e-5
        assert torch.equal(found[::5], expected[::5])
