"""Images that are not RGB: one and five channels through preprocessors, networks and heads."""

import logging

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from mmrel.datasets import DrawColorAugmentation
from mmrel.models.data_preprocessors import ViewPreprocessor
from mmrel.models.data_preprocessors.colorize import Colorizer
from mmrel.ops.color_table import NEUTRAL_ROW, ColorColumn
from mmrel.registry import MODELS
from mmrel.structures import SampleKey

COUNT = 6


def table(**columns: float) -> Tensor:
    row = list(NEUTRAL_ROW)
    for name, value in columns.items():
        row[ColorColumn[name]] = value
    return torch.tensor([row] * COUNT)


def drawn() -> Tensor:
    draw = DrawColorAugmentation(jitter_prob=1.0, grayscale_prob=0.5).draw
    return torch.from_numpy(np.concatenate([draw(SampleKey(0, 0, i), 2, 2) for i in range(3)]))


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_colors__hue_saturation_and_grey_are_left_out(
    channels: int, caplog: pytest.LogCaptureFixture
) -> None:
    images, colors = torch.rand(COUNT, channels, 8, 8), drawn()
    neutral = colors.clone()
    for column in (ColorColumn.SATURATION, ColorColumn.HUE, ColorColumn.GRAYSCALE):
        neutral[:, column] = NEUTRAL_ROW[column]
    assert not torch.equal(colors, neutral)
    worker = Colorizer(5)
    assert not worker.fuses(images)
    kept = colors.clone()
    found = worker.stepwise(images.clone(), colors)
    assert torch.equal(found, Colorizer(5).stepwise(images.clone(), neutral))
    assert torch.equal(colors, kept) and found.shape == images.shape
    assert not torch.equal(found, images)


def test_colors__brightness_contrast_and_solarisation_of_any_channels() -> None:
    images = torch.rand(COUNT, 5, 4, 4, dtype=torch.float64).float()
    found = Colorizer(5).stepwise(images.clone(), table(BRIGHTNESS=0.5))
    torch.testing.assert_close(found, images * 0.5)
    found = Colorizer(5).stepwise(images.clone(), table(CONTRAST=0.25))
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(found, (images * 0.25 + 0.75 * mean).clamp(0, 1))
    found = Colorizer(5).stepwise(images.clone(), table(SOLARIZE=127.5))
    assert torch.equal(found, torch.where(images >= 0.5, 1 - images, images))


def test_preprocessor__normalises_and_checks_the_channels() -> None:
    mean, std = [10.0, 20.0, 30.0, 40.0, 50.0], [1.0, 2.0, 4.0, 5.0, 8.0]
    preprocess = ViewPreprocessor(mean, std)
    images = torch.randint(0, 256, (2, 5, 8, 8), dtype=torch.uint8)
    found = preprocess({"inputs": list(images)})["inputs"]
    wanted = (images - torch.tensor(mean).view(5, 1, 1)) / torch.tensor(std).view(5, 1, 1)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r"3 channel.* has 5 value.*set model.data_preprocessor"):
        preprocess({"inputs": list(images[:, :3])})
    with pytest.raises(ValueError, match="one value for each channel"):
        ViewPreprocessor(mean, std[:3])
    with pytest.raises(ValueError, match="to_rgb=True turns BGR images round"):
        ViewPreprocessor([1.0], [1.0], to_rgb=True)


def collated(channels: int) -> dict:
    """What the loader gives of two images with two global crops and SiT's corruption."""
    crops = [torch.randint(0, 256, (2, channels, 16, 16), dtype=torch.uint8) for _ in range(2)]
    boxes = torch.tensor([[0.0, 0, 16, 16, 0]] * 2)
    corruption = torch.zeros(2, 2, 16, 2, dtype=torch.uint8)
    corruption[:, :, 2:9] = 0b01100110
    return {
        "inputs": crops,
        "geometry": boxes.expand(2, 2, 5),
        "num_global": torch.tensor([2, 2]),
        "color": drawn()[:4].unflatten(0, (2, 2)),
        "corruption": corruption,
        # zeros, noise and pixels of the other image
        "corruption_source": torch.tensor([[[0, 0], [1, 7]], [[3, 1], [3, 0]]]),
    }


@pytest.mark.parametrize("channels", [1, 5])
def test_sit__restores_other_channels(channels: int) -> None:
    settings = tiny.sit(in_channels=channels)
    settings["decoder"] = dict(settings["decoder"], out_channels=channels)
    numbers = dict(mean=[120.0] * channels, std=[60.0] * channels)
    settings["data_preprocessor"] = dict(type="mmrel.CorruptingViewPreprocessor", **numbers)
    model = MODELS.build(settings)
    model.init_weights()
    model.train()
    views = model.data_preprocessor(collated(channels), True)["inputs"]
    assert views.corrupted_crops.shape == (4, channels, 16, 16)
    assert not torch.equal(views.corrupted_crops, views.global_crops)
    losses = model.loss(views)
    total = sum(value for name, value in losses.items() if name.startswith("loss"))
    total.backward()
    decoder = model.neck["decoder"].to_pixels
    assert decoder.weight.shape[1] == channels and decoder.weight.grad.abs().sum() > 0
    settings["decoder"] = dict(settings["decoder"], out_channels=3)
    wrong = MODELS.build(settings)
    with pytest.raises(ValueError, match="its in_channels as out_channels"):
        wrong.loss(views)


def test_log__says_once_what_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    from mmengine.logging import MMLogger

    logger = MMLogger.get_instance("channels")
    said: list[str] = []
    logger.handle = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger.setLevel(logging.INFO)
    worker = Colorizer(5)
    for _ in range(3):
        worker.stepwise(torch.rand(COUNT, 5, 4, 4), table(HUE=0.2))
    assert len(said) == 1 and "saturation, hue and grey are left out" in said[0]
