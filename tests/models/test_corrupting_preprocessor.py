"""Corruption on the device: SiT's two stages (public code of arXiv 2104.03602) against one image at a time."""

import numpy as np
import pytest
import torch
from reference import corruption as reference
from torch import Tensor
from torch.utils.data import default_collate

from mmrel.datasets import DrawCorruption, MultiCrop, PackViews
from mmrel.models.data_preprocessors import CorruptingViewPreprocessor, ViewPreprocessor
from mmrel.ops.corruption import Material, rearrange
from mmrel.registry import MODELS
from mmrel.structures import SampleKey, ViewBatch

B, SIDE = 6, 40


def batch(material: str = "zeros", rho: float = 0.5, size: int = B) -> dict:
    """A collated batch of random images with two views each."""
    steps = [
        MultiCrop(global_size=SIDE, num_local=0),
        DrawCorruption(material, rho=rho),
        PackViews(),
    ]
    samples = []
    for index in range(size):
        image = np.random.default_rng(index).integers(0, 256, (60, 70, 3), dtype=np.uint8)
        results = {"img": image, "key": SampleKey(0, 0, index)}
        for step in steps:
            results = step(results)
        samples.append(results)
    return default_collate(samples)


def prepare(data: dict) -> ViewBatch:
    return CorruptingViewPreprocessor()(data, training=True)["inputs"]


def per_sample(data: dict, clean: Tensor, masks: Tensor, noise: dict[int, Tensor]) -> Tensor:
    """What happens to crop v of image i, for all v and i, one after another."""
    size = len(data["num_global"])
    fills: list[Tensor | None] = []
    for view in range(2):
        for image in range(size):
            material, number = data["corruption_source"][image, view].tolist()
            row = view * size + image
            fill = None
            if material == Material.OTHER:
                fill = clean[view * size + number % size]
            elif material == Material.SELF:
                fill = rearrange(clean[row][None], data["corruption_origin"][image, view][None])[0]
            elif material == Material.NOISE:
                fill = noise[row]
            fills.append(fill)
    return reference.corrupt(clean, masks, fills)


@pytest.mark.parametrize(
    ("material", "rho"),
    [("zeros", 0.5), ("self", 0.5), ("other", 0.0), ("zeros-noise-self-other", 0.3)],
)
def test_corruption__equals_per_sample_form(material: str, rho: float) -> None:
    data = batch(material, rho)
    views = prepare(data)
    assert views.corruption.shape == (2 * B, SIDE, SIDE) and views.corruption.dtype == torch.bool
    noise = dict(enumerate(views.corrupted_crops))
    wanted = per_sample(data, views.global_crops, views.corruption, noise)
    assert torch.equal(views.corrupted_crops, wanted)
    assert torch.equal(views.global_crops, ViewPreprocessor()(data)["inputs"].global_crops)
    assert views.student_crops is views.corrupted_crops


def test_corruption__masks_are_the_loaders() -> None:
    data = batch()
    bits = np.unpackbits(data["corruption"].numpy(), axis=-1).astype(bool)
    views = prepare(data)
    assert (views.corruption.unflatten(0, (2, B)).numpy() == bits.swapaxes(0, 1)).all()
    assert (views.corruption.float().mean(dim=(1, 2)) >= 0.3).all()


def test_corruption__zeros_are_the_mean_colour() -> None:
    """A black pixel becomes (-2.1179, -2.0357, -1.8044), so zeros are grey and not black."""
    data = batch(rho=0.0)
    data["inputs"] = [torch.zeros_like(view) for view in data["inputs"]]
    views = prepare(data)
    black = views.global_crops[0, :, 0, 0]
    assert black.tolist() == pytest.approx([-2.117904, -2.035714, -1.804444], abs=1e-6)
    every = views.corruption[:, None].expand_as(views.global_crops)
    assert (views.corrupted_crops[every] == 0).all()
    assert torch.equal(views.corrupted_crops[~every], views.global_crops[~every])


def test_corruption__donors_are_of_the_same_view() -> None:
    """With rho = 1 and the donor forced to j, the result is j's clean crop of the same view on the mask."""
    data = batch(rho=1.0)
    data["inputs"][0].fill_(10)
    data["inputs"][1].fill_(200)
    donors = torch.tensor([1, 1, 4, 0, 5, 5])
    data["corruption_source"][..., 1] = donors[:, None] + B * 1000
    data["inputs"][0] += torch.arange(B, dtype=torch.uint8).view(B, 1, 1, 1)
    views = prepare(data)
    clean = views.global_crops.unflatten(0, (2, B))
    corrupted = views.corrupted_crops.unflatten(0, (2, B))
    masks = views.corruption.unflatten(0, (2, B))[:, :, None].expand_as(clean)
    donated = clean[:, donors]
    assert torch.equal(corrupted, torch.where(masks, donated, clean))
    assert torch.equal(corrupted[:, 1], clean[:, 1])
    assert views.corruption[1].any()


def test_corruption__noise_is_normal_and_reproducible() -> None:
    data = batch("noise", rho=0.0, size=12)
    first, second = prepare(data), prepare(data)
    assert torch.equal(first.corrupted_crops, second.corrupted_crops)
    every = first.corruption[:, None].expand_as(first.global_crops)
    values = first.corrupted_crops[every]
    assert abs(float(values.mean())) < 4 / len(values) ** 0.5
    assert abs(float(values.std()) - 1) < 4 / (2 * len(values)) ** 0.5
    assert not torch.equal(first.corrupted_crops[0], first.corrupted_crops[1])
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    prepare(data)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_corruption__one_image_is_its_own_donor() -> None:
    """Nothing changes, but the mask still counts (as in SiT's public code)."""
    views = prepare(batch(rho=1.0, size=1))
    assert torch.equal(views.corrupted_crops, views.global_crops)
    assert views.corruption.any()


def test_preprocessor__plain_images_pass() -> None:
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    plain = CorruptingViewPreprocessor()(dict(inputs=images))["inputs"]
    assert torch.equal(plain, ViewPreprocessor()(dict(inputs=images))["inputs"])


def test_preprocessor__refuses_a_batch_without_corruption() -> None:
    data = batch()
    del data["corruption"]
    with pytest.raises(ValueError, match=r"mmrel\.DrawCorruption before mmrel\.PackViews"):
        prepare(data)


def test_preprocessor__is_registered() -> None:
    built = MODELS.build(dict(type="mmrel.CorruptingViewPreprocessor", blur_kernel=5))
    assert isinstance(built, CorruptingViewPreprocessor) and not built.state_dict()


def corrupted_on_gpu(data: dict) -> ViewBatch:
    """What comes of a batch on a GPU, the second time, without a wait."""
    on_device = CorruptingViewPreprocessor().to("cuda")
    on_device(data, training=True)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        return on_device(data, training=True)["inputs"]
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("material", ["zeros", "self-other", "noise"])
def test_corruption__on_a_gpu_waits_for_nothing(material: str) -> None:
    views = corrupted_on_gpu(batch(material))
    assert views.corrupted_crops.is_cuda and views.corruption.shape == (2 * B, SIDE, SIDE)


@pytest.mark.gpu
@pytest.mark.parametrize("material", ["zeros", "noise-self-other"])
def test_corruption__cuda_equals_cpu(material: str) -> None:
    data = batch(material)
    plain, views = prepare(data), corrupted_on_gpu(data)
    assert torch.equal(views.corruption.cpu(), plain.corruption)
    same = torch.from_numpy(
        (data["corruption_source"][..., 0] != Material.NOISE).numpy().T.copy()
    ).flatten()
    difference = (views.corrupted_crops.cpu() - plain.corrupted_crops).abs().amax(dim=(1, 2, 3))
    assert difference[same].max() < 1e-4
