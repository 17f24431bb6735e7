"""Principal components of patch tokens: against other implementations, and on tokens whose parts are known."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from mmrel.visualization.pca import (
    color_tokens,
    draw_pca,
    otsu_threshold,
    patch_colors,
    principal_axes,
)


def data(count: int = 200, channels: int = 8) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    mixing = torch.randn(channels, channels, generator=rng, dtype=torch.float64)
    return torch.randn(count, channels, generator=rng, dtype=torch.float64) @ mixing + 3


def test_axes__equal_to_scikit_learn_up_to_sign() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    tokens = data()
    axes, shares = principal_axes(tokens)
    wanted = decomposition.PCA(3).fit(tokens.numpy())
    signs = np.sign((wanted.components_ * axes.numpy()).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(axes, signs * wanted.components_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(shares, wanted.explained_variance_ratio_, rtol=0, atol=1e-10)


def test_axes__equal_to_the_singular_value_decomposition_up_to_sign() -> None:
    """Also with fewer tokens than channels."""
    for tokens in (data(), data(6, 40)):
        axes, shares = principal_axes(tokens)
        centered = tokens - tokens.mean(0)
        _, values, wanted = torch.linalg.svd(centered, full_matrices=False)
        signs = (wanted[:3] * axes).sum(1, keepdim=True).sign()
        torch.testing.assert_close(axes, signs * wanted[:3], rtol=0, atol=1e-9)
        torch.testing.assert_close(shares, values[:3] ** 2 / (values**2).sum())


def test_axes__signs_do_not_depend_on_the_order_of_tokens() -> None:
    tokens = data()
    shuffled = tokens[torch.randperm(len(tokens))]
    axes = principal_axes(tokens)[0]
    torch.testing.assert_close(axes, principal_axes(shuffled)[0])
    assert (axes.gather(1, axes.abs().argmax(1, keepdim=True)) > 0).all()


def test_axes__refuse() -> None:
    for tokens in (torch.zeros(3), torch.zeros(0, 5), torch.zeros(4, 2)):
        with pytest.raises(ValueError, match=r"wanted \(N, C\) with N > 0"):
            principal_axes(tokens)


def test_otsu__equals_the_loop() -> None:
    values = torch.cat([torch.randn(40, dtype=torch.float64), 6 + torch.randn(15).double()])

    def between(threshold: float) -> float:
        low, high = values[values <= threshold], values[values > threshold]
        return len(low) * len(high) * float(low.mean() - high.mean()) ** 2

    ordered = values.sort().values
    middles = (ordered[1:] + ordered[:-1]) / 2
    assert otsu_threshold(values) == pytest.approx(max(middles.tolist(), key=between))
    assert 2 < otsu_threshold(values) < 5


def test_otsu__equal_values() -> None:
    assert otsu_threshold(torch.full((5,), 2.0)) == 2
    assert otsu_threshold(torch.tensor([7.0])) == 7
    assert 1 < otsu_threshold(torch.tensor([1.0, 1.0, 4.0])) < 4


def scene(
    shape: tuple[int, int], top: int, left: int, seed: int
) -> tuple[torch.Tensor, np.ndarray]:
    """Tokens with a background, and a square object of two halves, left and right; and its mask."""
    rng = torch.Generator().manual_seed(seed)
    tokens = 0.05 * torch.randn(*shape, 6, generator=rng)
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + 4, left : left + 4] = True
    tokens[top : top + 4, left : left + 4, 0] += 4
    tokens[top : top + 4, left : left + 2, 1] += 1
    return tokens.flatten(0, 1), mask


@pytest.mark.parametrize("rule", ["otsu", "sign"])
@pytest.mark.parametrize("flip", [1, -1])
def test_colors__foreground_and_its_parts(rule: str, flip: int) -> None:
    """The object is found whatever sign its feature has; its halves differ in colour, alike in both photographs."""
    places = [((8, 12), 2, 5), ((10, 7), 5, 2)]
    scenes = [scene(*place, seed) for seed, place in enumerate(places)]
    grids = [place[0] for place in places]
    found = color_tokens([flip * tokens for tokens, _ in scenes], grids, rule)
    halves = []
    for (_, mask), inside, colors, parts, (shape, top, left) in zip(
        scenes, found.foreground, found.colors, found.foreground_colors, places, strict=True
    ):
        assert (inside == mask).all() and colors.shape == (*shape, 3)
        assert colors.min() >= 0 and colors.max() <= 1
        object_parts = parts[top : top + 4, left : left + 4]
        halves.append([object_parts[:, :2].mean((0, 1)), object_parts[:, 2:].mean((0, 1))])
    (left_a, right_a), (left_b, right_b) = halves
    assert abs(left_a[0] - right_a[0]) > 0.6
    assert abs(left_a[0] - left_b[0]) < 0.15 and abs(right_a[0] - right_b[0]) < 0.15


def test_colors__photographs_of_one_color() -> None:
    found = color_tokens([torch.ones(6, 4)], [(2, 3)])
    assert (found.colors[0] == 0.5).all() and np.isfinite(found.foreground_colors[0]).all()


def test_patch_colors__of_photographs_and_the_figure(tmp_path: Path) -> None:
    vit = tiny.build(tiny.dino()).teacher.backbone
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in ((20, 30), (40, 20))]
    found = patch_colors(vit, images, size=16)
    assert [colors.shape for colors in found.colors] == [(4, 6, 3), (8, 4, 3)]
    again = patch_colors(vit, images, size=16)
    assert all((a == b).all() for a, b in zip(found.colors, again.colors, strict=True))
    for count in (1, 2):
        path = tmp_path / f"{count}.png"
        own = found if count == 2 else patch_colors(vit, images[:1], size=16)
        draw_pca(images[:count], {"weights": own}, path)
        assert Image.open(path).getcolors(100) is None  # more than that


def test_patch_colors__refuse() -> None:
    vit = tiny.build(tiny.dino()).teacher.backbone
    with pytest.raises(ValueError, match="images is empty"):
        patch_colors(vit, [])
    with pytest.raises(ValueError, match="foreground is 'max'; choose from otsu, sign"):
        patch_colors(vit, [np.zeros((9, 9, 3), dtype=np.uint8)], "max")
