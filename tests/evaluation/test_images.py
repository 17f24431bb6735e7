"""From files, pictures and arrays to what a backbone takes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmrel.evaluation.images import fit_to_patches, normalised_images, read_image
from mmrel.models.backbones import ViT
from mmrel.utils.normalization import Normalization


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_read__a_file_a_picture_and_an_array_alike(tmp_path: Path) -> None:
    array = picture(20, 30)
    Image.fromarray(array).save(tmp_path / "a.png")
    for image in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(array), array):
        assert np.array_equal(read_image(image), array)


@pytest.mark.parametrize(
    ("shape", "size", "wanted"),
    [
        ((32, 48), None, (32, 48)),
        ((35, 50), None, (32, 48)),
        ((37, 53), None, (40, 56)),
        ((100, 200), 40, (40, 80)),
        ((200, 100), 44, (88, 48)),
        ((100, 155), 40, (40, 64)),
    ],
)
def test_fit__whole_patches_in_the_true_aspect_ratio(
    shape: tuple[int, int], size: int | None, wanted: tuple[int, int]
) -> None:
    assert fit_to_patches(picture(*shape), 8, size).shape == (*wanted, 3)


def test_fit__nothing_is_resampled_where_it_fits() -> None:
    image = picture(16, 24)
    assert fit_to_patches(image, 8) is image


@pytest.mark.parametrize(
    ("shape", "size"), [((7, 50), None), ((50, 7), None), ((50, 50), 7), ((50, 50), 0)]
)
def test_fit__smaller_than_a_patch(shape: tuple[int, int], size: int | None) -> None:
    with pytest.raises(ValueError, match="smaller than a patch of 8"):
        fit_to_patches(picture(*shape), 8, size)


def test_normalised__by_the_backbones_own_numbers() -> None:
    backbone = ViT(
        arch=dict(embed_dims=24, num_layers=1, num_heads=3, feedforward_channels=24), img_size=16
    )
    image = picture(16, 32)
    backbone.normalization = Normalization((10.0, 20.0, 30.0), (2.0, 4.0, 5.0))
    found = normalised_images([image, image], backbone)
    wanted = (torch.from_numpy(image).float() - torch.tensor([10.0, 20.0, 30.0])) / torch.tensor(
        [2.0, 4.0, 5.0]
    )
    assert torch.allclose(found[1], wanted.permute(2, 0, 1))
