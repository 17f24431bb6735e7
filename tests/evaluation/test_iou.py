"""IoU against mmseg's metric and the plain loop; enlarged scores."""

import math

import pytest
import torch
import torch.nn.functional as F
from reference.segmentation import best_classes, class_iou

from mmrel.evaluation.iou import confusion_matrix, segmentation_scores, upsampled_argmax

CLASSES = ("a", "b", "c", "d", "e")


def maps(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and annotations of three images; class 3 is nowhere, 4 is only predicted."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(-1, 3, (3, 7, 5), generator=generator)
    noise = torch.randint(0, 4, truth.shape, generator=generator)
    noise[noise == 3] = 4
    keep = torch.rand(truth.shape, generator=generator) < 0.6
    return torch.where(keep & (truth >= 0), truth, noise), truth


def test_scores__equal_the_plain_loop() -> None:
    predicted, truth = maps(0)
    found = segmentation_scores(confusion_matrix(predicted, truth, 5), CLASSES)
    expected = class_iou(predicted.tolist(), truth.tolist(), 5)
    assert list(found.iou.values()) == pytest.approx([100 * v for v in expected], nan_ok=True)
    assert math.isnan(found.iou["d"]) and found.iou["e"] == 0
    present = [v for v in expected if not math.isnan(v)]
    assert found.miou == pytest.approx(100 * sum(present) / len(present), abs=1e-10)
    counted = truth >= 0
    share = (predicted == truth)[counted].double().mean()
    assert found.pixel_accuracy == pytest.approx(100 * float(share), abs=1e-10)
    assert found.as_dict()["iou"]["d"] is None


@pytest.mark.parametrize("seed", range(3))
def test_scores__equal_mmsegs_metric(seed: int) -> None:
    metric = pytest.importorskip("mmseg.evaluation").IoUMetric()
    metric.dataset_meta = {"classes": CLASSES}
    predicted, truth = maps(seed)
    samples = [
        {"pred_sem_seg": {"data": p[None]}, "gt_sem_seg": {"data": t[None]}}
        for p, t in zip(predicted, torch.where(truth < 0, 255, truth), strict=True)
    ]
    metric.process({}, samples)
    wanted = metric.compute_metrics(metric.results)
    found = segmentation_scores(confusion_matrix(predicted, truth, 5), CLASSES)
    assert round(found.miou, 2) == pytest.approx(wanted["mIoU"], abs=0.0101)
    assert round(found.pixel_accuracy, 2) == pytest.approx(wanted["aAcc"], abs=0.0101)
    areas = [sum(column) for column in zip(*metric.results, strict=True)]
    exact = metric.total_area_to_metrics(*areas)["IoU"]
    assert list(found.iou.values()) == pytest.approx((100 * exact).tolist(), rel=1e-6, nan_ok=True)


def test_scores__bad_input() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\), the annotation \(3, 2\)"):
        confusion_matrix(torch.zeros(2, 3).long(), torch.zeros(3, 2).long(), 2)
    with pytest.raises(ValueError, match="all are ignored"):
        segmentation_scores(torch.zeros(2, 2), ("a", "b"))


@pytest.mark.parametrize("chunk", [1, 2, 32])
@pytest.mark.parametrize("size", [(9, 7), (3, 4), (13, 20)])
def test_argmax__equals_the_plain_loop_in_any_chunks(size: tuple[int, int], chunk: int) -> None:
    scores = torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = upsampled_argmax(scores, size, chunk)
    assert found.tolist() == best_classes(scores.flatten(1).T.tolist(), (3, 4), size)
    whole = F.interpolate(scores[None], size=size, mode="bilinear")[0].argmax(0)
    assert torch.equal(found, whole)


def test_argmax__negative_scores_and_ties() -> None:
    scores = torch.full((4, 2, 2), -5.0)
    assert upsampled_argmax(scores, (4, 4), 2).eq(0).all()
    scores[3] = -4
    assert upsampled_argmax(scores, (4, 4), 2).eq(3).all()
