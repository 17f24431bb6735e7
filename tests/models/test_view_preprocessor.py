"""From uint8 crops to a ViewBatch: order of views, flips, colours, masks; and plain images."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from mmpretrain.structures import DataSample
from reference.augment import augment_image
from torch import Tensor

from mmrel.datasets import DrawColorAugmentation
from mmrel.models.data_preprocessors import ViewPreprocessor
from mmrel.registry import MODELS
from mmrel.structures import SampleKey, ViewBatch

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
V, L, B = 2, 3, 4


def batch(color: bool = True, masks: bool = True, num_local: int = L) -> dict:
    """A collated batch with random contents."""
    torch.manual_seed(0)
    shapes = [(B, 3, 24, 24)] * V + [(B, 3, 16, 16)] * num_local
    data = {
        "inputs": [torch.randint(0, 256, shape, dtype=torch.uint8) for shape in shapes],
        "geometry": torch.cat(
            [torch.rand(B, V + num_local, 4) * 50, torch.randint(0, 2, (B, V + num_local, 1))], -1
        ),
        "num_global": torch.full((B,), V),
        "sample_index": torch.tensor([5, 1, 8, 3]),
    }
    if color:
        draw = DrawColorAugmentation().draw
        tables = np.stack([draw(SampleKey(0, 0, i), V, V + num_local) for i in range(B)])
        tables[:, :, -1] = 256
        data["color"] = torch.from_numpy(tables)
    if masks:
        data["masks"] = torch.rand(B, V, 9) < 0.4
        data["masks"][1, 0] = False
    return data


def expected(data: dict, view: int, image: int) -> Tensor:
    """One crop by torchvision alone."""
    crop = tv.to_dtype(data["inputs"][view][image], torch.float32, scale=True)
    if data["geometry"][image, view, 4]:
        crop = tv.horizontal_flip(crop)
    if "color" in data:
        crop = augment_image(crop, data["color"][image, view].numpy(), 13)
    return tv.normalize(crop, [m / 255 for m in MEAN], [s / 255 for s in STD])


@pytest.mark.parametrize("color", [True, False])
def test_training__equals_torchvision_view_major(color: bool) -> None:
    data = batch(color)
    views = ViewPreprocessor()(data, training=True)["inputs"]
    assert views.global_crops.dtype == torch.float32
    wanted = torch.stack([expected(data, v, i) for v in range(V) for i in range(B)])
    assert (views.global_crops - wanted).abs().max() < 2e-4
    wanted = torch.stack([expected(data, V + v, i) for v in range(L) for i in range(B)])
    assert (views.local_crops - wanted).abs().max() < 2e-4


def test_training__counts_boxes_and_indices() -> None:
    data = batch()
    views = ViewPreprocessor()(data, training=True)["inputs"]
    assert (views.num_global, views.num_local, views.batch_size) == (V, L, B)
    assert torch.equal(views.geometry.boxes, data["geometry"])
    assert views.geometry.num_global == V
    assert views.sample_indices == (5, 1, 8, 3)


def test_training__leaves_the_batch_alone() -> None:
    data, copy = batch(), batch()
    ViewPreprocessor()(data, training=True)
    assert all(torch.equal(a, b) for a, b in zip(data["inputs"], copy["inputs"], strict=True))
    assert torch.equal(data["color"], copy["color"])


def test_training__masks_positions_and_weights() -> None:
    data = batch()
    views = ViewPreprocessor()(data, training=True)["inputs"]
    flat = torch.cat([data["masks"][:, v] for v in range(V)])
    assert torch.equal(views.masks, flat)
    positions = [r * 9 + c for r in range(V * B) for c in range(9) if flat[r, c]]
    weights = [1 / int(flat[p // 9].sum()) for p in positions]
    assert views.mask_indices.tolist() == positions
    assert views.mask_weights.tolist() == pytest.approx(weights)


def test_training__nothing_hidden() -> None:
    data = batch()
    data["masks"][:] = False
    views = ViewPreprocessor()(data, training=True)["inputs"]
    assert views.mask_indices.shape == views.mask_weights.shape == (0,)


def test_training__without_masks_and_local_crops() -> None:
    views = ViewPreprocessor()(batch(masks=False, num_local=0), training=True)["inputs"]
    assert views.local_crops is None and views.num_local == 0
    assert views.masks is views.mask_indices is views.mask_weights is None


def test_training__number_of_global_crops_from_sizes() -> None:
    data = batch()
    del data["num_global"], data["sample_index"]
    views = ViewPreprocessor()(data, training=True)["inputs"]
    assert (views.num_global, views.num_local, views.sample_indices) == (V, L, ())


def test_training__stays_float32_under_autocast() -> None:
    data = batch()
    plain = ViewPreprocessor()(data, training=True)["inputs"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = ViewPreprocessor()(data, training=True)["inputs"]
    assert torch.equal(plain.global_crops, mixed.global_crops)


@pytest.mark.parametrize("to_rgb", [True, False])
@pytest.mark.parametrize("stacked", [True, False])
def test_evaluation__normalises(to_rgb: bool, stacked: bool) -> None:
    images = torch.randint(0, 256, (B, 3, 8, 8), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(i) for i in range(B)]
    inputs = images if stacked else list(images)
    result = ViewPreprocessor(to_rgb=to_rgb)(dict(inputs=inputs, data_samples=samples))
    rgb = (images.flip(1) if to_rgb else images).float()
    wanted = (rgb - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    assert (result["inputs"] - wanted).abs().max() < 1e-5
    assert [int(sample.gt_label) for sample in result["data_samples"]] == [0, 1, 2, 3]


def test_evaluation__without_samples() -> None:
    result = ViewPreprocessor()(dict(inputs=torch.zeros(1, 3, 4, 4)))
    assert result["data_samples"] is None


def test_preprocessor__is_registered_and_adds_no_state() -> None:
    built = MODELS.build(dict(type="mmrel.ViewPreprocessor"))
    assert isinstance(built, ViewPreprocessor) and not built.state_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(mean=[0.0]), "one value for each channel"),
        (dict(std=[1.0, 0.0, 1.0]), "std above 0"),
        (dict(blur_kernel=12), "blur_kernel is 12; give an odd"),
        (dict(color_kernels="cuda"), "color_kernels is 'cuda'; choose one of"),
    ],
)
def test_preprocessor__refuses(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViewPreprocessor(**options)


def test_colors__triton_is_refused_where_it_cannot_be() -> None:
    with pytest.raises(RuntimeError, match="the tensors are on 'cpu'. Set model.data_preprocessor"):
        ViewPreprocessor(color_kernels="triton")(batch(), training=True)
    by_torch = ViewPreprocessor(color_kernels="torch")(batch(), training=True)["inputs"]
    plain = ViewPreprocessor()(batch(), training=True)["inputs"]
    assert torch.equal(by_torch.global_crops, plain.global_crops)


def prepared_on_gpu(data: dict, **options: str) -> ViewBatch:
    """What comes of a batch on a GPU, the second time, without a wait."""
    on_device = ViewPreprocessor(**options).to("cuda")
    on_device(data, training=True)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        return on_device(data, training=True)["inputs"]
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("kernels", ["auto", "torch"])
@pytest.mark.parametrize("color", [True, False])
def test_training__on_a_gpu_waits_for_nothing(color: bool, kernels: str) -> None:
    views = prepared_on_gpu(batch(color), color_kernels=kernels)
    assert views.global_crops.is_cuda and views.global_crops.shape == (V * B, 3, 24, 24)
    assert views.local_crops.shape == (L * B, 3, 16, 16) and views.mask_indices.is_cuda
    assert prepared_on_gpu(batch(num_local=0)).local_crops is None


@pytest.mark.gpu
@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_training__cuda_equals_cpu(kernels: str) -> None:
    data = batch()
    plain = ViewPreprocessor()(data, training=True)["inputs"]
    views = prepared_on_gpu(data, color_kernels=kernels)
    assert (views.global_crops.cpu() - plain.global_crops).abs().max() < 1e-4
    assert (views.local_crops.cpu() - plain.local_crops).abs().max() < 1e-4
    assert torch.equal(views.masks.cpu(), plain.masks)
    assert torch.equal(views.mask_indices.cpu(), plain.mask_indices)
    assert torch.equal(views.mask_weights.cpu(), plain.mask_weights)
    assert torch.equal(views.geometry.boxes.cpu(), plain.geometry.boxes)
