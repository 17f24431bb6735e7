"""Patch augmentation on the device: RelViT (arXiv 2206.00481), and torchvision patch by patch."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from reference import relvit as reference
from torch import Tensor

from mmrel.datasets import DrawMegaPatches, DrawPatchAugmentation, PackViews, ShufflePatches
from mmrel.models.data_preprocessors import PatchAugmentingPreprocessor, ViewPreprocessor
from mmrel.models.data_preprocessors.augment import adjust_brightness, adjust_hue
from mmrel.models.data_preprocessors.color_plan import ColorPlan
from mmrel.ops.color_table import ColorColumn, neutral_table
from mmrel.ops.patches import patch_window, permute_patches
from mmrel.structures import SampleKey, ViewBatch

MEAN, STD = [125.307, 122.961, 113.8575], [62.985, 62.0925, 66.708]
B = 3


def batch(transforms: Sequence[object], side: int = 32, views: int = 1) -> dict:
    """A collated batch of random crops, without flips."""
    rng = np.random.default_rng(0)
    packed = []
    for i in range(B):
        results = dict(
            views=[rng.integers(0, 256, (3, side, side), dtype=np.uint8) for _ in range(views)],
            geometry=np.zeros((views, 5), np.float32),
            num_global=views,
            key=SampleKey(0, 0, i),
        )
        for transform in transforms:
            results = transform(results)
        packed.append(PackViews()(results))
    return default_collate(packed)


def process(data: dict, space: str = "normalized") -> ViewBatch:
    preprocessor = PatchAugmentingPreprocessor(jitter_space=space, mean=MEAN, std=STD)
    return preprocessor(data, training=True)["inputs"]


def plain(data: dict) -> Tensor:
    """The normalised crops, untouched."""
    return ViewPreprocessor(mean=MEAN, std=STD)(data, training=True)["inputs"].global_crops


def expected(image: Tensor, offsets: Tensor, colors: Tensor, size: int, space: str) -> Tensor:
    """One normalised image, patch by patch."""
    side = patch_window(size, "random").side
    mean, std = (torch.tensor(x).view(3, 1, 1) / 255 for x in (MEAN, STD))
    if space == "pixel":
        image = image * std + mean
    patches = [
        reference.augment_patch(patch, offset, side, row.numpy())
        for patch, offset, row in zip(reference.split(image, size), offsets, colors, strict=True)
    ]
    image = reference.merge(patches, image.shape[1] // size)
    return (image - mean) / std if space == "pixel" else image


@pytest.mark.parametrize("space", ["normalized", "pixel"])
@pytest.mark.parametrize(("side", "size", "views"), [(32, 4, 1), (32, 8, 2), (64, 32, 1)])
def test_batch__equals_torchvision_patch_by_patch(
    space: str, side: int, size: int, views: int
) -> None:
    data = batch([DrawPatchAugmentation(size)], side, views)
    images, result = plain(data), process(data, space).global_crops
    for view in range(views):
        for i in range(B):
            wanted = expected(
                images[view * B + i],
                data["patch_offsets"][i, view],
                data["patch_colors"][i, view],
                size,
                space,
            )
            assert (result[view * B + i] - wanted).abs().max() < 2e-4


def test_batch__without_transforms_of_patches_is_the_plain_one() -> None:
    data = batch([])
    views = process(data)
    assert torch.equal(views.global_crops, plain(data)) and views.patch_order is None


def test_batch__constant_colour_without_jitter_is_the_identity() -> None:
    data = batch([DrawPatchAugmentation(8, jitter_prob=0, grayscale_prob=0)])
    data["inputs"] = [torch.randint(0, 256, (B, 3, 1, 1)).expand(-1, -1, 32, 32).byte()]
    torch.testing.assert_close(process(data).global_crops, plain(data))


def test_batch__patches_of_two_pixels_are_not_cropped() -> None:
    data = batch([DrawPatchAugmentation(2, jitter_prob=0, grayscale_prob=0)], side=8)
    assert torch.equal(process(data).global_crops, plain(data))


def test_brightness__clamp() -> None:
    values = torch.tensor([-1.2, -0.3, 0.4, 0.9, 2]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    result = adjust_brightness(values, torch.tensor([1.2]))
    assert result[0, 0, 0].tolist() == pytest.approx([0, 0, 0.48, 1, 1])
    table = torch.from_numpy(neutral_table(2))
    table[0, ColorColumn.BRIGHTNESS] = 1.2
    both = ColorPlan.from_table(table, values.device).apply(
        values.repeat(2, 1, 1, 1), 13, bounded=False
    )
    assert both[0, 2, 0].tolist() == pytest.approx([0, 0, 0.48, 1, 1])
    assert torch.equal(both[1], values[0])


@pytest.mark.parametrize(("space", "share"), [("normalized", 0.8), ("pixel", 0.0)])
def test_batch__jittered_patches_are_squeezed(space: str, share: float) -> None:
    """About 80 % of all patches lie in [0, 1] of the normalised range, the others keep theirs."""
    data = batch([DrawPatchAugmentation(4, grayscale_prob=0)], side=128)
    patches = process(data, space).global_crops.unfold(2, 4, 4).unfold(3, 4, 4)
    inside = ((patches >= 0) & (patches <= 1)).all(dim=5).all(dim=4).all(dim=1)
    assert abs(float(inside.float().mean()) - share) < 4 * (0.16 / inside.numel()) ** 0.5


@pytest.mark.parametrize("shift", [-0.1, 0.03, 0.1])
def test_hue__of_any_values_equals_torchvision(shift: float) -> None:
    images = torch.randn(50, 3, 6, 6) * 1.5
    ours = adjust_hue(images, torch.full((50,), shift), bounded=False)
    theirs = reference.tv1.adjust_hue(images, shift)
    assert (ours - theirs).abs().max() < 2e-5
    inside = images.sigmoid()
    assert torch.equal(
        adjust_hue(inside, torch.full((50,), shift)).clamp(0, 1),
        adjust_hue(inside, torch.full((50,), shift), bounded=False),
    )


def test_batch__permuted_patches_and_their_order() -> None:
    data = batch([ShufflePatches(8)], views=2)
    views = process(data)
    assert torch.equal(views.patch_order, torch.cat([data["patch_order"][:, v] for v in (0, 1)]))
    assert torch.equal(views.global_crops, permute_patches(plain(data), views.patch_order, 8))


def test_batch__mega_patches_then_augmentation_then_order() -> None:
    """224 pixels, m = 5: images of 160 pixels; each step sees what the one before it left."""
    data = batch([DrawMegaPatches(32), DrawPatchAugmentation(32), ShufflePatches(32)], side=224)
    views = process(data)
    assert views.global_crops.shape == (B, 3, 160, 160) and views.patch_order.shape == (B, 25)
    images = plain(data)
    for i in range(B):
        rows, cols = data["mega_cuts"][i, 0].tolist()
        assert rows == cols
        mega = reference.mega_patches(images[i], rows, cols, 32)
        wanted = expected(
            mega, data["patch_offsets"][i, 0], data["patch_colors"][i, 0], 32, "normalized"
        )
        wanted = permute_patches(wanted[None], views.patch_order[i : i + 1], 32)[0]
        assert (views.global_crops[i] - wanted).abs().max() < 2e-4


def test_batch__noise_patches_are_a_function_of_the_sample() -> None:
    draw = DrawPatchAugmentation(8, jitter_prob=0, grayscale_prob=0, noise_prob=0.2)
    data = batch([draw], side=128)
    images, result = plain(data), process(data).global_crops
    without = process({k: v for k, v in data.items() if k != "patch_noise"}).global_crops
    chosen = data["patch_noise"][:, 0].view(B, 16, 16)
    chosen = chosen.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None].expand_as(images)
    assert torch.equal(result[~chosen], without[~chosen])
    noise = result[chosen]
    assert abs(float(noise.mean())) < 4 / noise.numel() ** 0.5
    assert float(noise.std()) == pytest.approx(1, abs=4 / noise.numel() ** 0.5)
    last = {k: v[2:] if isinstance(v, Tensor) else [x[2:] for x in v] for k, v in data.items()}
    assert torch.equal(process(last).global_crops[0], result[2])
    assert abs(float(data["patch_noise"].float().mean()) - 0.2) < 4 * (0.16 / (3 * 256)) ** 0.5


def test_batch__leaves_the_input_alone_and_ignores_autocast() -> None:
    data = batch([DrawPatchAugmentation(8)])
    before = [crop.clone() for crop in data["inputs"]]
    result = process(data).global_crops
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(process(data).global_crops, result)
    assert all(torch.equal(a, b) for a, b in zip(before, data["inputs"], strict=True))


def test_evaluation__images_are_only_normalised() -> None:
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    ours, theirs = (
        kind(mean=MEAN, std=STD)(dict(inputs=images), training=False)["inputs"]
        for kind in (PatchAugmentingPreprocessor, ViewPreprocessor)
    )
    assert torch.equal(ours, theirs)


def test_preprocessor__refuses() -> None:
    with pytest.raises(ValueError, match="'normalized', 'pixel'"):
        PatchAugmentingPreprocessor(jitter_space="rgb")
    data = batch([DrawPatchAugmentation(8)])
    data["patch_size"] = torch.full((B,), 4)
    with pytest.raises(ValueError, match=r"16 offsets .* 8 x 8 patches"):
        process(data)


def processed_on_gpu(data: dict, space: str = "normalized") -> ViewBatch:
    """What comes of a batch on a GPU, the second time, without a wait."""
    on_device = PatchAugmentingPreprocessor(jitter_space=space, mean=MEAN, std=STD).to("cuda")
    on_device(data, training=True)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        return on_device(data, training=True)["inputs"]
    finally:
        torch.cuda.set_sync_debug_mode("default")


STEPS = (DrawMegaPatches(32), DrawPatchAugmentation(32), ShufflePatches(32))


@pytest.mark.gpu
@pytest.mark.parametrize("space", ["normalized", "pixel"])
def test_batch__on_a_gpu_waits_for_nothing(space: str) -> None:
    views = processed_on_gpu(batch(STEPS, side=224), space)
    assert views.global_crops.is_cuda and views.global_crops.shape == (B, 3, 160, 160)
    noisy = batch([DrawPatchAugmentation(8, noise_prob=0.5)])
    assert processed_on_gpu(noisy).global_crops.shape == (B, 3, 32, 32)


@pytest.mark.gpu
@pytest.mark.parametrize("space", ["normalized", "pixel"])
def test_batch__cuda_equals_cpu(space: str) -> None:
    data = batch(STEPS, side=224)
    cpu, views = process(data, space), processed_on_gpu(data, space)
    assert (views.global_crops.cpu() - cpu.global_crops).abs().max() < 1e-4


@pytest.mark.gpu
def test_batch__noise_on_a_gpu_is_a_function_of_the_sample() -> None:
    data = batch([DrawPatchAugmentation(8, noise_prob=0.5)], side=128)
    last = {k: v[2:] if isinstance(v, Tensor) else [x[2:] for x in v] for k, v in data.items()}
    whole = processed_on_gpu(data).global_crops
    assert torch.equal(processed_on_gpu(last).global_crops[0], whole[2])
