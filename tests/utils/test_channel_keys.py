"""What follows from ``in_channels`` in a configuration."""

import copy
from typing import Any

import pytest
from mmengine.config import Config

from mmrel.utils import UsageError
from mmrel.utils.channel_keys import settle_channels


def recipe() -> Config:
    preprocessor = dict(type="mmrel.ViewPreprocessor", mean=[1, 2, 3], std=[4, 5, 6])
    train = [
        dict(type="mmrel.DecodeImage", mode="fast"),
        dict(type="mmrel.MultiCrop"),
        dict(
            type="mmrel.DrawColorAugmentation",
            jitter=(0.3, 0.2, 0.2, 0.1),
            jitter_prob=(0.5, 0.7, 0.6),
        ),
        dict(type="mmrel.PackViews"),
    ]
    knn = [dict(type="mmrel.DecodeImage"), dict(type="ResizeEdge", scale=256, backend="pillow")]
    return Config(
        dict(
            data_preprocessor=preprocessor,
            model=dict(
                base=dict(backbone=dict(type="mmrel.ViT"), neck=dict(in_channels=384)),
                decoder=dict(type="mmrel.PixelDecoder"),
            ),
            train_dataloader=dict(dataset=dict(pipeline=train)),
            default_hooks=dict(knn=dict(bank=dict(pipeline=knn))),
        )
    )


FIVE = dict(in_channels=5, mean=[10, 20, 30, 40, 50], std=[1, 2, 3, 4, 5], value_range=[0, 9000])


def settled(config: Config, options: dict[str, Any]) -> dict[str, Any]:
    settle_channels(config, options)
    return config.to_dict()


def test_channels__five() -> None:
    found = settled(recipe(), FIVE)
    train = found["train_dataloader"]["dataset"]["pipeline"]
    decode = dict(type="mmrel.DecodeImage", in_channels=5, value_range=[0, 9000])
    assert train[0] == {**decode, "mode": "fast"}
    assert train[2] == dict(type="mmrel.JitterChannels", brightness=0.3, contrast=0.2, prob=0.7)
    assert train[3]["jitter"] == (0, 0, 0, 0) and train[3]["solarize_prob"] == 0
    knn = found["default_hooks"]["knn"]["bank"]["pipeline"]
    assert knn == [decode, dict(type="ResizeEdge", scale=256, backend="cv2")]
    assert found["data_preprocessor"]["mean"] == FIVE["mean"]
    assert found["model"]["base"]["backbone"]["in_channels"] == 5
    assert found["model"]["base"]["neck"]["in_channels"] == 384
    assert found["model"]["decoder"]["out_channels"] == 5


def test_channels__again_from_what_was_dumped() -> None:
    config = recipe()
    config.merge_from_dict(FIVE)
    once = settled(config, {})
    assert settled(Config(copy.deepcopy(once)), {}) == once


def test_channels__one_number_for_one_channel() -> None:
    found = settled(recipe(), dict(in_channels=1, mean=120, std=60.5))
    assert found["data_preprocessor"]["mean"] == [120] and found["data_preprocessor"]["std"] == [
        60.5
    ]


def test_channels__of_colours_of_their_own() -> None:
    plain = recipe().to_dict()
    assert settled(recipe(), {}) == plain
    found = settled(recipe(), dict(in_channels=3, mean=[7, 8, 9], bit_depth=12))
    assert found["data_preprocessor"] == dict(
        type="mmrel.ViewPreprocessor", mean=[7, 8, 9], std=[4, 5, 6]
    )
    train = found["train_dataloader"]["dataset"]["pipeline"]
    assert (
        train[0]["bit_depth"] == 12
        and train[1:] == plain["train_dataloader"]["dataset"]["pipeline"][1:]
    )
    assert "in_channels" not in found["model"]["base"]["backbone"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            dict(in_channels=5),
            "in_channels is 5 and mean is None; give 5 numbers .*--in-channels 5",
        ),
        (dict(FIVE, std=[1, 2]), r"in_channels is 5 and std is \[1, 2\]; give 5 numbers"),
        (dict(in_channels="five"), "in_channels is 'five'; give a number from 1 on"),
    ],
)
def test_channels__bad(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settle_channels(recipe(), options)
