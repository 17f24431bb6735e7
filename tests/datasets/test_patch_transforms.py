"""What is drawn for patches: shapes, distributions (RelViT, arXiv 2206.00481), keys, and crops with a border."""

from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import pixels
from torch.utils.data import default_collate

from mmrel.datasets import (
    DrawMegaPatches,
    DrawPatchAugmentation,
    MultiCrop,
    PackViews,
    PaddedCrop,
    ShufflePatches,
)
from mmrel.ops.color_table import NEUTRAL_ROW, ColorColumn
from mmrel.structures import SampleKey

KEY = SampleKey(3, 5, 11)


def sample(side: int = 32, key: SampleKey = KEY) -> dict:
    """A sample after cropping."""
    return PaddedCrop(side)({"img": pixels(side, side), "key": key})


def test_augmentation__shapes_and_kinds() -> None:
    results = DrawPatchAugmentation(8, noise_prob=0.5)(sample())
    assert results["patch_offsets"].shape == (1, 16, 2)
    assert results["patch_offsets"].dtype == np.int64
    assert results["patch_colors"].shape == (1, 16, len(ColorColumn))
    assert results["patch_colors"].dtype == np.float32
    assert results["patch_noise"].shape == (1, 16) and results["noise_seed"].shape == (1,)
    assert (int(results["patch_size"]), int(results["patch_window"])) == (8, 7)
    assert "patch_noise" not in DrawPatchAugmentation(8)(sample())


@pytest.mark.parametrize(("size", "choices"), [(2, 1), (4, 2), (8, 2), (16, 3), (32, 5)])
def test_augmentation__offsets(size: int, choices: int) -> None:
    """Every distance from 0 to p - k equally often; two patches of p >= 4 differ with chance >= 3/4."""
    draw = DrawPatchAugmentation(size)
    offsets = np.concatenate(
        [draw(sample(4 * size, SampleKey(0, 0, i)))["patch_offsets"][0] for i in range(200)]
    )
    counts = np.bincount(offsets.ravel(), minlength=choices)
    assert len(counts) == choices
    expected = offsets.size / choices
    assert (np.abs(counts - expected) <= 4 * expected**0.5).all()
    if size >= 4:
        differ = (offsets[0::2] != offsets[1::2]).any(axis=1)
        assert differ.mean() >= 0.75 - 4 * (0.75 * 0.25 / len(differ)) ** 0.5


def test_augmentation__colours_follow_the_published_chances() -> None:
    """0.8 jitter, 0.2 grey, factors of U(0.6, 1.4), hue of U(-0.1, 0.1), 24 orders; patches independent."""
    draw = DrawPatchAugmentation(4)
    table = np.concatenate(
        [draw(sample(32, SampleKey(0, 0, i)))["patch_colors"][0] for i in range(200)]
    )
    patches = len(table)
    jittered = (table[:, :4] != NEUTRAL_ROW[:4]).any(axis=1)
    for share, chance in ((jittered, 0.8), (table[:, ColorColumn.GRAYSCALE] == 1, 0.2)):
        assert abs(share.mean() - chance) < 4 * (0.16 / patches) ** 0.5
    for column, (low, high) in enumerate([(0.6, 1.4)] * 3 + [(-0.1, 0.1)]):
        values = table[jittered, column]
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 4 * (high - low) / (12 * len(values)) ** 0.5
    orders = np.bincount(table[:, ColorColumn.ORDER].astype(int), minlength=24)
    assert len(orders) == 24
    assert (np.abs(orders - patches / 24) <= 4 * (patches / 24) ** 0.5).all()
    assert (table[:, ColorColumn.BLUR_SIGMA] == 0).all() and (
        table[:, ColorColumn.SOLARIZE] == 256
    ).all()
    factors = table[jittered, 0]
    assert abs(np.corrcoef(factors[:-1], factors[1:])[0, 1]) < 4 / len(factors) ** 0.5


def test_augmentation__nothing_is_drawn_where_chances_are_zero() -> None:
    results = DrawPatchAugmentation(4, crop="none", jitter_prob=0, grayscale_prob=0)(sample())
    table = results["patch_colors"].reshape(-1, len(ColorColumn))
    neutral = np.delete(table, ColorColumn.ORDER, axis=1)
    assert (neutral == np.delete(np.float32(NEUTRAL_ROW), ColorColumn.ORDER)).all()
    assert not results["patch_offsets"].any() and int(results["patch_window"]) == 4


def test_augmentation__center_crop_stays_in_the_middle() -> None:
    results = DrawPatchAugmentation(32, crop="center")(sample(224))
    assert set(results["patch_offsets"].ravel().tolist()) == {2, 3, 4}
    assert int(results["patch_window"]) == 26


def test_transforms__are_functions_of_the_key() -> None:
    steps = [DrawMegaPatches(8, count=3), DrawPatchAugmentation(8), ShufflePatches(8)]

    def drawn(key: SampleKey) -> dict:
        results = sample(key=key)
        for step in steps:
            results = step(results)
        return {k: v for k, v in results.items() if k.startswith(("patch", "mega"))}

    first, again = drawn(KEY), drawn(KEY)
    assert all((first[name] == again[name]).all() for name in first)
    for other in (SampleKey(3, 5, 12), SampleKey(3, 6, 11), SampleKey(4, 5, 11)):
        changed = drawn(other)
        for name in ("patch_offsets", "patch_colors", "patch_order"):
            assert (first[name] != changed[name]).any()


def test_mega_patches__faithful_columns_follow_the_rows() -> None:
    """In the public code's form the columns are cut like the rows; the flag makes them independent."""
    keys = [SampleKey(0, 0, i) for i in range(40)]
    faithful = [DrawMegaPatches(32)(sample(224, key))["mega_cuts"][0] for key in keys]
    assert all((rows == cols).all() for rows, cols in faithful)
    own = [
        DrawMegaPatches(32, independent_cuts=True)(sample(224, key))["mega_cuts"][0] for key in keys
    ]
    assert any((rows != cols).any() for rows, cols in own)
    for (rows, _), (expected, _) in zip(own, faithful, strict=True):
        assert (rows == expected).all()
        assert rows[0] == 0 and rows[-1] == 224 and (np.diff(rows) % 32 == 0).all()


def test_mega_patches__later_transforms_see_their_grid() -> None:
    results = DrawMegaPatches(32, count=5)(sample(224))
    results = ShufflePatches(32)(DrawPatchAugmentation(32)(results))
    assert results["patch_offsets"].shape == (1, 25, 2)
    assert sorted(results["patch_order"][0]) == list(range(25))


@pytest.mark.parametrize(
    ("transform", "side", "message"),
    [
        (DrawPatchAugmentation(5), 32, "not a whole number of patches of 5"),
        (ShufflePatches(7), 32, "not a whole number of patches of 7"),
        (DrawMegaPatches(32, count=8), 224, "8 mega-patches .* 7 patches per side.*from 2 to 7"),
        (DrawMegaPatches(32, count=1), 224, "1 mega-patches"),
    ],
)
def test_transforms__refuse(transform: object, side: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        transform(sample(side))


def test_mega_patches__refuse_oblong_crops() -> None:
    results = {"views": [np.zeros((3, 32, 64), np.uint8)], "num_global": 1, "key": KEY}
    with pytest.raises(ValueError, match="2 x 4 patches; cut square"):
        DrawMegaPatches(16, count=2)(results)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(jitter=(0.4, 0.4, 0.4)), "four strengths"),
        (dict(jitter=(0.4, 0.4, 0.4, 0.6)), "at most 0.5"),
        (dict(jitter_prob=1.2), r"chances in \[0, 1\]"),
        (dict(crop="top"), "choose one of"),
    ],
)
def test_augmentation__refuses_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DrawPatchAugmentation(8, **options)


def test_pack__keeps_what_was_drawn_and_collates() -> None:
    steps = [DrawMegaPatches(8, 3), DrawPatchAugmentation(8, noise_prob=0.2), ShufflePatches(8)]
    packed = []
    for i in range(2):
        results = sample(key=SampleKey(0, 0, i))
        for step in steps:
            results = step(results)
        packed.append(PackViews(patch_size=8)(results))
    batch = default_collate(packed)
    assert batch["patch_colors"].shape == (2, 1, 9, 8) and batch["patch_size"].tolist() == [8, 8]
    assert batch["mega_cuts"].shape == (2, 1, 2, 4) and batch["noise_seed"].shape == (2, 1)


# Crops with a border.


def test_padded_crop__equals_padding_then_cutting() -> None:
    image = pixels(32, 32)
    for i in range(30):
        results = PaddedCrop(32)({"img": image, "key": SampleKey(0, 0, i)})
        x, y, w, h, flip = results["geometry"][0]
        assert (w, h) == (32, 32) and min(x, y) >= -4 and max(x, y) <= 4 and flip in (0, 1)
        padded = np.zeros((40, 40, 3), np.uint8)
        padded[4:36, 4:36] = image
        expected = padded[int(y) + 4 : int(y) + 36, int(x) + 4 : int(x) + 36]
        view = results["views"][0]
        assert view.flags["C_CONTIGUOUS"] and (view.transpose(1, 2, 0) == expected).all()


def test_padded_crop__nine_places_equally_likely_and_half_flipped() -> None:
    crop = PaddedCrop(32)
    boxes = np.concatenate([crop.draw(SampleKey(0, 0, i), 32, 32) for i in range(3000)])
    for axis in (0, 1):
        values, counts = np.unique(boxes[:, axis], return_counts=True)
        assert values.tolist() == list(range(-4, 5))
        assert (np.abs(counts - 3000 / 9) < 4 * (3000 / 9) ** 0.5).all()
    assert abs(boxes[:, 4].mean() - 0.5) < 4 * (0.25 / 3000) ** 0.5


def test_padded_crop__without_border_and_too_small_images() -> None:
    results = PaddedCrop(16, padding=0)({"img": pixels(20, 30), "key": KEY})
    x, y = results["geometry"][0, :2]
    assert 0 <= x <= 14 and 0 <= y <= 4
    with pytest.raises(ValueError, match=r"20 x 30 pixels with a border of 4 .* crop of 40"):
        PaddedCrop(40)({"img": pixels(20, 30), "key": KEY})
    with pytest.raises(ValueError, match="padding of 0 or more"):
        PaddedCrop(16, padding=-1)


def test_multi_crop__bilinear_as_relvit_has_it() -> None:
    """One view of 8 to 100 % of the area, Pillow's bilinear filter."""
    from PIL import Image

    image = pixels(60, 90)
    options = dict(global_size=24, global_scale=(0.08, 1.0), num_global=1, num_local=0)
    results = MultiCrop(**options, interpolation="bilinear")({"img": image, "key": KEY})
    x, y, w, h = results["geometry"][0, :4].astype(int)
    expected = Image.fromarray(image).crop((x, y, x + w, y + h))
    expected = np.asarray(expected.resize((24, 24), Image.Resampling.BILINEAR))
    assert (results["views"][0].transpose(1, 2, 0) == expected).all()
    fast = MultiCrop(**options, interpolation="bilinear", mode="fast")({"img": image, "key": KEY})
    assert np.abs(fast["views"][0].astype(int) - results["views"][0]).mean() < 2
    with pytest.raises(ValueError, match="'bicubic', 'bilinear'"):
        MultiCrop(interpolation="nearest")


def test_loader__numbers_do_not_depend_on_workers(tmp_path: Path) -> None:
    from mmengine.runner import Runner
    from PIL import Image

    for i in range(4):
        Image.fromarray(pixels(16, 16)).save(tmp_path / f"{i}.png")
    pipeline = [
        dict(type="mmrel.DecodeImage"),
        dict(type="mmrel.PaddedCrop", size=16),
        dict(type="mmrel.DrawPatchAugmentation", patch_size=4),
        dict(type="mmrel.PackViews"),
    ]
    batches = []
    for workers in (0, 2):
        loader = Runner.build_dataloader(
            dict(
                batch_size=2,
                num_workers=workers,
                collate_fn=dict(type="default_collate"),
                sampler=dict(type="mmrel.KeyedSampler", shuffle=True, seed=1),
                dataset=dict(type="mmrel.ImageFolder", data_root=str(tmp_path), pipeline=pipeline),
            )
        )
        batches.append(list(loader))
    for plain, parallel in zip(*batches, strict=True):
        for name in ("patch_colors", "patch_offsets", "geometry"):
            assert torch.equal(plain[name], parallel[name])
