"""Position embeddings on other grids: numbers of DINO's rule, and every grid to every grid."""

import pytest
import torch

from mmrel.ops.position import fit_position_embedding, resize_position_embedding

RAMP = torch.arange(14.0, dtype=torch.float64)


def _ramp(extra: int = 0) -> torch.Tensor:
    patches = RAMP[:, None].expand(14, 14).reshape(1, 196, 1)
    return torch.cat([torch.full((1, extra, 1), 7.5, dtype=torch.float64), patches], dim=1)


def _rows(position: torch.Tensor, side: int, extra: int = 0) -> torch.Tensor:
    return position[:, extra:].reshape(side, side)[:, 0]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("dino", [0.5535, 2.9187, 5.2852, 7.5246, 9.7811, 12.1736]),
        ("size", [0.5741, 3.0, 5.3704, 7.6296, 10.0, 12.4259]),
    ],
)
def test_resize__row_ramp_14_to_6(method: str, expected: list[float]) -> None:
    rows = _rows(resize_position_embedding(_ramp(), (14, 14), (6, 6), 0, method), 6)
    torch.testing.assert_close(
        rows, torch.tensor(expected, dtype=torch.float64), atol=5.1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("method", "expected"),
    [("dino", [-0.1090, 0.1166, 0.4942, 1.0387]), ("size", [-0.1090, 0.1181, 0.4976, 1.0454])],
)
def test_resize__row_ramp_14_to_32(method: str, expected: list[float]) -> None:
    rows = _rows(resize_position_embedding(_ramp(), (14, 14), (32, 32), 0, method), 32)[:4]
    torch.testing.assert_close(
        rows, torch.tensor(expected, dtype=torch.float64), atol=5.1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("method", "expected"), [("dino", [-0.0178, 0.3029]), ("size", [-0.0206, 0.1372])]
)
def test_resize__impulse(method: str, expected: list[float]) -> None:
    impulse = torch.zeros(1, 14, 14, 1, dtype=torch.float64)
    impulse[0, 7, 7] = 1
    out = resize_position_embedding(impulse.flatten(1, 2), (14, 14), (6, 6), 0, method)
    column = out.reshape(6, 6)[2:4, 3]
    torch.testing.assert_close(
        column, torch.tensor(expected, dtype=torch.float64), atol=5.1e-5, rtol=0
    )


def _loop_bicubic(maps: torch.Tensor, scale: tuple[float, float], size: tuple[int, int]):
    """Bicubic resampling of an (H, W) map, one output value at a time."""

    def weight(distance: float) -> float:
        x, a = abs(distance), -0.75
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    height, width = maps.shape
    out = torch.zeros(size, dtype=torch.float64)
    for row in range(size[0]):
        for col in range(size[1]):
            y, x = (row + 0.5) / scale[0] - 0.5, (col + 0.5) / scale[1] - 0.5
            for j in range(int(y // 1) - 1, int(y // 1) + 3):
                for i in range(int(x // 1) - 1, int(x // 1) + 3):
                    value = maps[min(max(j, 0), height - 1), min(max(i, 0), width - 1)]
                    out[row, col] += value * weight(y - j) * weight(x - i)
    return out


@pytest.mark.parametrize("method", ["size", "dino"])
@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize(
    ("source", "target"), [((3, 5), (4, 2)), ((4, 4), (7, 5)), ((2, 6), (6, 2)), ((1, 3), (3, 1))]
)
def test_resize__any_grid_equals_loop(method, extra, source, target) -> None:
    generator = torch.Generator().manual_seed(0)
    position = torch.randn(
        1, source[0] * source[1] + extra, 2, dtype=torch.float64, generator=generator
    )
    out = resize_position_embedding(position, source, target, extra, method)
    assert torch.equal(out[:, :extra], position[:, :extra])
    offset = 0.1 if method == "dino" else 0.0
    scale = ((target[0] + offset) / source[0], (target[1] + offset) / source[1])
    for channel in range(2):
        expected = _loop_bicubic(position[0, extra:, channel].reshape(source), scale, target)
        actual = out[0, extra:, channel].reshape(target)
        torch.testing.assert_close(actual, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("side", [2, 4, 6, 7, 8, 12, 14, 30, 60, 63])
def test_resize__dino_gives_the_wanted_size(side: int) -> None:
    out = resize_position_embedding(_ramp(1), (14, 14), (side, side + 1), 1, "dino")
    assert out.shape == (1, side * (side + 1) + 1, 1)


def test_resize__same_grid_is_unchanged_and_gradient_flows() -> None:
    position = _ramp(1).requires_grad_()
    assert resize_position_embedding(position, (14, 14), (14, 14), 1, "dino") is position
    resize_position_embedding(position, (14, 14), (6, 6), 1, "dino").sum().backward()
    assert position.grad is not None and position.grad[0, 0] == 1


def test_resize__half_precision_keeps_dtype() -> None:
    out = resize_position_embedding(_ramp(1).bfloat16(), (14, 14), (6, 6), 1, "size")
    assert out.dtype == torch.bfloat16


@pytest.mark.parametrize("method", ["size", "dino"])
@pytest.mark.parametrize("given", [0, 1])
@pytest.mark.parametrize("wanted", [0, 1])
@pytest.mark.parametrize("target", [(14, 14), (6, 6), (5, 9)])
def test_fit__any_class_token_setting(method, given, wanted, target) -> None:
    out = fit_position_embedding(_ramp(given), target, wanted, method)
    expected = resize_position_embedding(_ramp(), (14, 14), target, 0, method)
    assert torch.equal(out[:, wanted:], expected)
    if wanted:
        assert out[0, 0] == (7.5 if given else 0.0)


def test_fit__non_square_checkpoint_of_the_same_grid() -> None:
    position = torch.randn(1, 16, 2)
    assert torch.equal(fit_position_embedding(position, (3, 5), 1), position)
    assert torch.equal(fit_position_embedding(position, (3, 5), 0), position[:, 1:])


@pytest.mark.parametrize("method", ["size", "dino"])
@pytest.mark.parametrize("given", [0, 1])
@pytest.mark.parametrize("wanted", [0, 1])
@pytest.mark.parametrize("target", [(6, 6), (4, 9), (3, 12), (5, 7)])
def test_fit__known_grid_of_the_checkpoint(method, given, wanted, target) -> None:
    """4 x 9 patches are 36, as many as 6 x 6 and 3 x 12: the known grid decides, not the number."""
    position = torch.randn(1, 36 + given, 2)
    out = fit_position_embedding(position, target, wanted, method, (4, 9))
    patches = position[:, given:]
    expected = resize_position_embedding(patches, (4, 9), target, 0, method)
    assert torch.equal(out[:, wanted:], expected)
    if wanted:
        assert torch.equal(out[:, 0], position[:, 0] if given else torch.zeros(1, 2))


def test_fit__known_grid_of_another_number_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"38 entries does not belong to a grid of 4 x 9 patches"):
        fit_position_embedding(torch.zeros(1, 38, 2), (5, 5), 1, source_grid=(4, 9))


def test_fit__unknown_grid_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"24 entries.*wanted 5 x 5 patches"):
        fit_position_embedding(torch.zeros(1, 24, 2), (5, 5), 1)


@pytest.mark.parametrize(
    ("shape", "source", "target", "method", "message"),
    [
        ((1, 9, 2), (2, 4), (3, 3), "size", r"shape \(1, 9, 2\); wanted \(1, 8, C\)"),
        ((1, 8, 2), (2, 4), (0, 3), "size", "at least one row"),
        ((1, 8, 2), (2, 4), (3, 3), "linear", "'linear'; allowed: size, dino"),
    ],
)
def test_resize__bad_input(shape, source, target, method, message) -> None:
    with pytest.raises(ValueError, match=message):
        resize_position_embedding(torch.zeros(shape), source, target, 0, method)


@pytest.mark.parametrize("method", ["size", "dino"])
@pytest.mark.parametrize("target", [(6, 6), (3, 7), (20, 9), (1, 1)])
def test_resize__deterministic_mode(method: str, target: tuple[int, int]) -> None:
    """The same numbers and gradients by matrix products, whose gradient is deterministic on a GPU too."""
    results = []
    for deterministic in (False, True):
        position = torch.randn(1, 1 + 5 * 6, 3, generator=torch.Generator().manual_seed(0))
        position = position.double().requires_grad_()
        torch.use_deterministic_algorithms(deterministic)
        try:
            resized = resize_position_embedding(position, (5, 6), target, 1, method)
            (resized * torch.arange(resized.numel()).view_as(resized)).sum().backward()
        finally:
            torch.use_deterministic_algorithms(False)
        results.append((resized, position.grad))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)
