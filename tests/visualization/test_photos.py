"""Photographs on their way into a backbone, and places in them."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.models.backbones import ViT
from mmrel.visualization.photos import (
    as_share,
    check_heads,
    flat_patches,
    patch_at,
    patch_center,
    photo_tokens,
)

SHAPE, GRID = (300, 450), (4, 6)


def backbone() -> ViT:
    return tiny.build(tiny.dino()).teacher.backbone


def photo(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_photo_tokens__are_the_backbones_of_the_fitted_photo() -> None:
    network = backbone().train()
    network.train()
    found = photo_tokens(network, photo(), size=16)
    assert network.training
    assert found.grid == GRID and found.shape == (20, 30) and found.tokens.shape[0] == 24
    network.eval()
    resized = Image.fromarray(photo()).resize((24, 16), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float()
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    wanted = network((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)).patches[0]
    torch.testing.assert_close(found.tokens, wanted, rtol=0, atol=1e-5)


def test_photo_tokens__any_form_of_image(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photo()).save(path)
    network = backbone()
    wanted = photo_tokens(network, photo(), size=16).tokens
    for image in (path, str(path), Image.open(path)):
        assert torch.equal(photo_tokens(network, image, size=16).tokens, wanted)


def test_photo_tokens__refuses(tmp_path: Path) -> None:
    network = backbone()
    with pytest.raises(ValueError, match="3x30 pixels at size 16 is smaller than a patch of 4"):
        photo_tokens(network, photo(3), size=16)
    with pytest.raises(ValueError, match="blocks .* are not valid"):
        photo_tokens(network, photo(), size=16, block=7)
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(UnreadableImageError, match=r"text\.jpg"):
        photo_tokens(network, tmp_path / "text.jpg")


@pytest.mark.parametrize(
    ("point", "share", "cell"),
    [
        ((0, 0), (0.5 / 450, 0.5 / 300), (0, 0)),
        ((449, 299), (449.5 / 450, 299.5 / 300), (3, 5)),
        ((75, 74), (75.5 / 450, 74.5 / 300), (0, 1)),
        ((0.5, 0.25), (0.5, 0.25), (1, 3)),
        ((1.0, 1.0), (1.0, 1.0), (3, 5)),
        ((np.int64(1), np.int64(1)), (1.5 / 450, 1.5 / 300), (0, 0)),
    ],
)
def test_points__pixels_and_shares(point: tuple, share: tuple, cell: tuple[int, int]) -> None:
    assert as_share(point, SHAPE) == pytest.approx(share)
    assert patch_at(point, SHAPE, GRID) == cell
    assert flat_patches([point], SHAPE, GRID) == [cell[0] * 6 + cell[1]]
    center = patch_center(point, SHAPE, GRID)
    assert center == pytest.approx(((cell[1] + 0.5) / 6, (cell[0] + 0.5) / 4))


@pytest.mark.parametrize("point", [(450, 0), (0, 300), (-1, 5), (1.5, 0.2), (-0.1, 0.5), (0.5, 2)])
def test_points__outside(point: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="outside of the image, which is 450 pixels wide and 300"):
        as_share(point, SHAPE)


def test_points__none() -> None:
    with pytest.raises(ValueError, match="points is empty"):
        flat_patches([], SHAPE, GRID)


def test_check_heads() -> None:
    assert check_heads(None, 3) == [0, 1, 2] and check_heads([2, 0], 3) == [2, 0]
    for heads in ([3], [-1], []):
        with pytest.raises(ValueError, match="this backbone has the heads 0 to 2"):
            check_heads(heads, 3)
