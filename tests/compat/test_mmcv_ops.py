"""The stand-in for mmcv's compiled operators: values, gradients, refusals, and when it steps aside."""

import importlib
import subprocess
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

from mmrel.compat import finder, mmcv_ops

mmcv_extension = importlib.import_module("mmcv._ext")
stand_in = pytest.mark.skipif(
    not hasattr(mmcv_extension, "SERVED") and mmcv_extension.nms is not mmcv_ops.nms,
    reason="this mmcv has compiled operators",
)


def boxes(count: int) -> Tensor:
    corner = torch.rand(count, 2) * 20
    return torch.cat([corner, corner + 2 + torch.rand(count, 2) * 12], dim=1)


def brute_force_nms(box: Tensor, scores: Tensor, threshold: float, offset: int) -> list[int]:
    """Keep the best box, drop what overlaps it too much, repeat; plain loops, float64."""

    def area(x1: float, y1: float, x2: float, y2: float) -> float:
        return max(x2 - x1 + offset, 0.0) * max(y2 - y1 + offset, 0.0)

    rows = box.double().tolist()
    waiting = sorted(range(len(rows)), key=lambda i: -scores[i].item())
    kept = []
    while waiting:
        best = waiting.pop(0)
        kept.append(best)
        remaining = []
        for other in waiting:
            a, b = rows[best], rows[other]
            inside = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
            if inside / (area(*a) + area(*b) - inside) <= threshold:
                remaining.append(other)
        waiting = remaining
    return kept


@stand_in
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.6])
def test_nms__equals_brute_force(threshold: float, offset: int) -> None:
    from mmcv.ops import nms

    box, scores = boxes(40), torch.rand(40)
    kept = nms(box, scores, threshold, offset=offset)[1]
    assert kept.tolist() == brute_force_nms(box, scores, threshold, offset)


@stand_in
def test_nms__empty_and_half_precision() -> None:
    from mmcv.ops import nms

    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5)[1].tolist() == []
    box, scores = boxes(20).half(), torch.rand(20).half()
    expected = brute_force_nms(box, scores, 0.4, 0)
    assert nms(box, scores, 0.4)[1].tolist() == expected


def rois(count: int) -> Tensor:
    return torch.cat([torch.randint(0, 2, (count, 1)), boxes(count)], dim=1)


@stand_in
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_roi_align__value_and_gradient_equal_torchvision(
    aligned: bool, sampling_ratio: int
) -> None:
    from mmcv.ops import RoIAlign

    layer = RoIAlign((5, 3), 0.5, sampling_ratio, "avg", aligned)
    features = torch.randn(2, 4, 18, 17, dtype=torch.float64, requires_grad=True)
    regions = rois(6).double()
    weights = torch.randn(6, 4, 5, 3, dtype=torch.float64)
    ours = layer(features, regions)
    (our_gradient,) = torch.autograd.grad((ours * weights).sum(), features)
    theirs = torchvision.ops.roi_align(features, regions, (5, 3), 0.5, sampling_ratio, aligned)
    (their_gradient,) = torch.autograd.grad((theirs * weights).sum(), features)
    assert torch.equal(ours, theirs)
    assert torch.equal(our_gradient, their_gradient)


@stand_in
def test_roi_align__constant_map_gives_the_constant() -> None:
    from mmcv.ops import roi_align

    regions = torch.tensor([[0.0, 2.0, 2.0, 9.0, 7.0]])
    pooled = roi_align(torch.full((1, 1, 12, 12), 3.0), regions, (2, 2), 1.0, 0, "avg", True)
    assert torch.allclose(pooled, torch.full((1, 1, 2, 2), 3.0), rtol=0, atol=1e-6)


@stand_in
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_roi_align__sixteen_bit_rounds_once(dtype: torch.dtype) -> None:
    from mmcv.ops import roi_align

    features = torch.randn(1, 2, 10, 10).to(dtype).requires_grad_()
    regions = torch.tensor([[0.0, 1.0, 1.0, 8.0, 6.0]]).to(dtype)
    pooled = roi_align(features, regions, (3, 3), 1.0, 2, "avg", True)
    exact = torchvision.ops.roi_align(features.float(), regions.float(), (3, 3), 1.0, 2, True)
    assert torch.equal(pooled, exact.to(dtype))
    pooled.sum().backward()
    assert features.grad.dtype == dtype


@stand_in
def test_other_operators__can_be_imported_and_refuse_to_run() -> None:
    from mmcv.ops import soft_nms

    with pytest.raises(NotImplementedError, match=r"'softnms' is not available.*pip install"):
        soft_nms(boxes(3), torch.rand(3))
    with pytest.raises(NotImplementedError, match=r"pool_mode='max'.*pool_mode='avg'"):
        mmcv_ops.roi_align_forward(*[torch.zeros(1)] * 5, 1, 1, 1.0, 0, 0, True)


@stand_in
def test_private_names__are_absent() -> None:
    assert not hasattr(mmcv_extension, "__wrapped__")


def test_finder__answers_for_one_name_only() -> None:
    assert finder.ExtensionFinder().find_spec("mmcv.ops", None) is None
    before = list(sys.meta_path)
    finder.install_mmcv_ops()
    assert sys.meta_path == before


def test_finder__steps_aside_for_compiled_operators(tmp_path: Path) -> None:
    (tmp_path / "_ext.py").write_text("nms = 'compiled'\n")
    spec = finder.ExtensionFinder().find_spec(finder.EXTENSION, [str(tmp_path)])
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.nms == "compiled"


def test_compiled_operators__for_another_torch_name_file_and_remedy(tmp_path: Path) -> None:
    library = tmp_path / "_ext.so"
    library.write_bytes(b"not a library")
    loader = finder.CompiledLoader(ExtensionFileLoader(finder.EXTENSION, str(library)))
    spec = ModuleSpec(finder.EXTENSION, loader, origin=str(library))
    with pytest.raises(ImportError) as caught:
        importlib.util.module_from_spec(spec)
    message = str(caught.value)
    assert str(library) in message
    assert torch.__version__ in message
    assert "pip install --no-cache-dir --force-reinstall" in message
    assert "\n" not in message


def test_import_mmrel__is_enough_for_mmdet() -> None:
    pytest.importorskip("mmdet")
    code = "import mmrel, mmcv.ops, sys; assert 'mmdet' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_mask_rcnn__trains_and_predicts_on_the_cpu() -> None:
    pytest.importorskip("mmdet")
    from mmdet.testing._utils import demo_mm_inputs
    from mmdet.utils import register_all_modules
    from mmengine.config import Config
    from mmengine.registry import MODELS, DefaultScope

    text = "_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'"
    cfg = Config.fromstring(text, ".py").model
    cfg.backbone = dict(type="ResNet", depth=18, base_channels=8, norm_eval=False)
    cfg.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    cfg.rpn_head.update(in_channels=16, feat_channels=16)
    head = cfg.roi_head
    for part in (head.bbox_roi_extractor, head.mask_roi_extractor):
        part.out_channels = 16
    head.bbox_head.update(in_channels=16, fc_out_channels=32)
    head.mask_head.update(in_channels=16, conv_out_channels=16, num_convs=1)
    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(cfg)
        batch = demo_mm_inputs(2, [[3, 64, 64], [3, 64, 48]], num_classes=80, with_mask=True)
        losses = model(**model.data_preprocessor(batch, True), mode="loss")
        total, _ = model.parse_losses(losses)
        total.backward()
        assert torch.isfinite(total)
        assert model.neck.lateral_convs[0].conv.weight.grad.abs().sum() > 0
        results = model.eval().test_step(batch)
    assert len(results) == 2
    assert {"bboxes", "masks", "scores"} <= set(results[0].pred_instances.keys())
