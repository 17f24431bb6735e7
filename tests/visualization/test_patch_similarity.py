"""Similarity of one patch to all others, against the plain formula, and the figure of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import build, dino

from mmrel.visualization.patch_similarity import draw_patch_similarity, patch_similarity

PLACES = [(0.1, 0.9), (0.5, 0.5)]


def test_patch_similarity__equal_to_the_formula() -> None:
    """Crops of 16 x 24 pixels give 4 x 6 patches; (0.1, 0.9) is in row 3, column 0."""
    model = build(dino()).eval()
    images = torch.randn(2, 3, 16, 24)
    maps = patch_similarity(model, images, PLACES)
    assert maps.shape == (2, 4, 6)
    patches = model.teacher.backbone(images).patches
    for index, own in enumerate((3 * 6 + 0, 2 * 6 + 3)):
        expected = torch.cosine_similarity(patches[index, own], patches[index], dim=-1)
        torch.testing.assert_close(torch.from_numpy(maps[index]).flatten(), expected)
    assert maps[0, 3, 0] == pytest.approx(1) and maps[1, 2, 3] == pytest.approx(1)


def test_patch_similarity__of_a_backbone() -> None:
    model = build(dino()).eval()
    images = torch.randn(2, 3, 16, 24)
    maps = patch_similarity(model.teacher.backbone, images, PLACES)
    np.testing.assert_array_equal(maps, patch_similarity(model, images, PLACES))


def test_patch_similarity__one_place_per_image() -> None:
    with pytest.raises(ValueError, match="1 places for 2 images"):
        patch_similarity(build(dino()), torch.randn(2, 3, 16, 16), PLACES[:1])


def test_draw__a_column_per_image(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (20, 20, 3), dtype=np.uint8) for _ in range(2)]
    maps = {"pretrained": rng.random((2, 4, 4)), "random": rng.random((2, 4, 4))}
    draw_patch_similarity(images, PLACES, maps, tmp_path / "x.png")
    picture = Image.open(tmp_path / "x.png").convert("RGB")
    assert min(picture.size) > 300
    assert picture.getcolors(100) is None  # more than that
