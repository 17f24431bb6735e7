"""Random streams, colour draws, masks and packing."""

import numpy as np
import pytest
import torch

from mmrel.datasets import BlockMask, DrawColorAugmentation, MultiCrop, PackViews
from mmrel.datasets.transforms.random_keys import Purpose, sample_generator
from mmrel.ops.color_table import ColorColumn
from mmrel.structures import SampleKey

KEY = SampleKey(3, 5, 11)
EXPECTED = [
    *(0.23017594483547388, 0.984751233625742, 0.1130221817350966, 0.04808851252594115),
    *(0.5139907652880366, 0.039757139738776814, 0.12220025195237938, 0.37951848527675214),
    0.9748491733144132,
]


def views(num_local: int = 2, size: int = 32) -> dict:
    image = np.zeros((50, 60, 3), dtype=np.uint8)
    crop = MultiCrop(global_size=size, local_size=size // 2, num_local=num_local)
    return crop({"img": image, "key": KEY, "sample_idx": 7})


def tables(draws: int = 2000, **options: object) -> np.ndarray:
    transform = DrawColorAugmentation(**options)
    return np.stack([transform.draw(SampleKey(0, 0, i), 2, 3) for i in range(draws)])


def test_generator__is_a_function_of_key_and_purpose() -> None:
    def first(key: SampleKey, purpose: Purpose) -> float:
        return sample_generator(key, purpose).random()

    assert first(KEY, Purpose.CROPS) == first(KEY, Purpose.CROPS)
    keys = [KEY, SampleKey(4, 5, 11), SampleKey(3, 6, 11), SampleKey(3, 5, 12)]
    numbers = {first(key, purpose) for key in keys for purpose in Purpose}
    assert len(numbers) == len(keys) * len(Purpose)


def test_generator__keeps_its_numbers_for_ever() -> None:
    """Runs are resumed across versions, so the streams must never change."""
    numbers = [sample_generator(KEY, purpose).random() for purpose in Purpose]
    assert numbers == pytest.approx(EXPECTED, abs=1e-15)


def test_generator__is_numpys_with_that_key() -> None:
    words = np.array([KEY.seed, KEY.epoch << 40 | KEY.index], dtype=np.uint64)
    counter = np.array([0, 0, 0, Purpose.COLOR], dtype=np.uint64)
    wanted = np.random.Generator(np.random.Philox(key=words, counter=counter))
    assert (sample_generator(KEY, Purpose.COLOR).random(9) == wanted.random(9)).all()


@pytest.mark.parametrize("key", [SampleKey(0, 1 << 24, 0), SampleKey(0, 0, 1 << 40)])
def test_generator__refuses_what_does_not_fit(key: SampleKey) -> None:
    with pytest.raises(ValueError, match="cannot key random numbers"):
        sample_generator(key, Purpose.CROPS)


def test_generator__takes_negative_and_large_seeds() -> None:
    seeds = (-1, 0, 2**63, 2**64 + 5)
    assert len({sample_generator(SampleKey(s, 0, 0), Purpose.MASKS).random() for s in seeds}) == 4


def test_color__chances_of_the_recipe() -> None:
    table = tables()
    jittered = table[..., ColorColumn.HUE] != 0
    assert np.abs(jittered.mean(axis=0) - 0.8).max() < 0.03
    assert np.abs(table[..., ColorColumn.GRAYSCALE].mean(axis=0) - 0.2).max() < 0.03
    blurred = (table[..., ColorColumn.BLUR_SIGMA] > 0).mean(axis=0)
    assert blurred[0] == 1 and np.abs(blurred[1:] - [0.1, 0.5]).max() < 0.035
    solarized = (table[..., ColorColumn.SOLARIZE] == 128).mean(axis=0)
    assert solarized[0] == solarized[2] == 0 and abs(solarized[1] - 0.2) < 0.03


def test_color__ranges_of_the_recipe() -> None:
    rows = tables().reshape(-1, len(ColorColumn))
    jittered = rows[rows[:, ColorColumn.HUE] != 0]
    for column, low, high in [(0, 0.6, 1.4), (1, 0.6, 1.4), (2, 0.8, 1.2), (3, -0.1, 0.1)]:
        values = jittered[:, column]
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high >= values.max() > high - 0.01 * (high - low)
        assert abs(values.mean() - (low + high) / 2) < 0.02 * (high - low)
    sigma = rows[:, ColorColumn.BLUR_SIGMA]
    assert sigma.max() <= 2 and sigma[sigma > 0].min() >= 0.1
    orders, counts = np.unique(rows[:, ColorColumn.ORDER], return_counts=True)
    assert orders.tolist() == list(range(24)) and counts.min() > 150


def test_color__no_jitter_leaves_neutral_factors() -> None:
    rows = tables(50, jitter_prob=0.0).reshape(-1, len(ColorColumn))
    assert (rows[:, :4] == [1, 1, 1, 0]).all()


def test_color__is_float32_and_in_the_results() -> None:
    color = DrawColorAugmentation()(views())["color"]
    assert color.shape == (4, len(ColorColumn)) and color.dtype == np.float32


def test_color__does_not_change_the_crops() -> None:
    plain = views()
    colored = DrawColorAugmentation()(views())
    assert (plain["geometry"] == colored["geometry"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(jitter=(0.4, 0.4, 0.2)), "four strengths"),
        (dict(jitter=(0.4, 0.4, 0.2, 0.6)), "at most 0.5"),
        (dict(blur_sigma=(0.0, 2.0)), "0 < low <= high"),
        (dict(blur_prob=(0.1, 0.2)), "blur_prob is"),
        (dict(grayscale_prob=1.2), "grayscale_prob is 1.2"),
    ],
)
def test_color__refuses(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DrawColorAugmentation(**options)


def test_masks__one_per_global_view() -> None:
    transform = BlockMask(patch_size=4, ratios=(0.5,), spreads=(0.0,))
    masks = transform(views())["masks"]
    assert masks.shape == (2, 64) and masks.dtype == bool
    assert (masks.sum(axis=1) <= 32).all() and (masks.sum(axis=1) > 16).all()
    assert (masks == transform(views())["masks"]).all()
    assert (masks[0] != masks[1]).any()


def test_masks__random_shape_hides_the_exact_number() -> None:
    masks = BlockMask(patch_size=4, ratios=(0.5,), spreads=(0.0,), shape="rand")(views())["masks"]
    assert masks.sum(axis=1).tolist() == [32, 32]


@pytest.mark.parametrize(("start_epoch", "hides"), [(5, True), (6, False)])
def test_masks__start_epoch(start_epoch: int, hides: bool) -> None:
    transform = BlockMask(4, ratios=(0.5,), spreads=(0.0,), start_epoch=start_epoch)
    assert transform(views())["masks"].any() == hides


def test_masks__refuse_crops_that_are_no_whole_number_of_patches() -> None:
    with pytest.raises(ValueError, match="crop of 32 x 32 pixels .* patches of 5"):
        BlockMask(patch_size=5)(views())


def test_masks__refuse_unknown_shape() -> None:
    with pytest.raises(ValueError, match="mask shape is 'disc'"):
        BlockMask(shape="disc")


def test_pack__contents() -> None:
    results = BlockMask(patch_size=4)(DrawColorAugmentation()(views()))
    packed = PackViews(patch_size=8)(results)
    assert [tuple(view.shape) for view in packed["inputs"]] == [(3, 32, 32)] * 2 + [(3, 16, 16)] * 2
    assert all(view.dtype == torch.uint8 for view in packed["inputs"])
    assert packed["geometry"].shape == (4, 5) and packed["geometry"].dtype == torch.float32
    assert packed["color"].shape == (4, 8) and packed["masks"].dtype == torch.bool
    assert packed["num_global"] == 2 and packed["sample_index"] == 7


def test_pack__leaves_out_what_was_not_drawn() -> None:
    assert set(PackViews()(views())) == {"inputs", "geometry", "num_global", "sample_index"}


def test_pack__refuses_crops_that_are_no_whole_number_of_patches() -> None:
    with pytest.raises(ValueError, match="crop of 16 x 16 pixels .* patches of 32"):
        PackViews(patch_size=32)(views())
