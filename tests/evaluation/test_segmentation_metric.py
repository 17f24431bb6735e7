"""ImageNetSMetric: mean over all classes, the ignored label, masks for the server."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("mmseg")
from mmrel.evaluation.segmentation import ImageNetSMetric

CLASSES = tuple(f"class_{i}" for i in range(920))


def _metric(**settings) -> ImageNetSMetric:
    metric = ImageNetSMetric(**settings)
    metric.dataset_meta = dict(classes=CLASSES)
    return metric


def _sample(
    prediction: torch.Tensor, truth: torch.Tensor | None, path: str = "test/n01/a.JPEG"
) -> dict:
    sample = dict(pred_sem_seg=dict(data=prediction[None]), img_path=path)
    return sample if truth is None else sample | dict(gt_sem_seg=dict(data=truth[None]))


def test_miou__by_hand() -> None:
    """Confusion over all images, 920 classes with the background, 1e-10 in the denominator; 1000 does not count."""
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([0, 3, 255, 256, 919])
    truths = values[torch.randint(0, 5, (2, 30, 40), generator=generator)]
    guesses = torch.where(
        torch.rand(truths.shape, generator=generator) < 0.7, truths, truths.roll(1, dims=2)
    )
    truths[torch.rand(truths.shape, generator=generator) < 0.2] = 1000
    metric = _metric()
    for guess, truth in zip(guesses, truths, strict=True):
        metric.process({}, [_sample(guess, truth)])
    found = metric.compute_metrics(metric.results)
    t, p = truths[truths != 1000].numpy(), guesses[truths != 1000].numpy()
    shares = [
        np.sum((t == c) & (p == c)) / (np.sum((t == c) | (p == c)) + 1e-10) for c in range(920)
    ]
    assert found["mIoU"] == pytest.approx(100 * np.mean(shares), abs=0.006)  # mmseg rounds to 0.01
    assert found["aAcc"] == pytest.approx(100 * np.mean(t == p), abs=0.006)


def test_masks__two_channels_in_the_folder_of_the_photo(tmp_path: Path) -> None:
    prediction = torch.tensor([[0, 255, 256], [511, 512, 919]])
    metric = _metric(output_dir=str(tmp_path), format_only=True)
    metric.process(
        {}, [_sample(prediction, None, "data/test/n01440764/ILSVRC2012_val_00000009.JPEG")]
    )
    assert metric.compute_metrics(metric.results) == {}
    path = tmp_path / "n01440764" / "ILSVRC2012_val_00000009.png"
    mask = np.asarray(Image.open(path)).astype(int)
    assert mask.shape == (2, 3, 3) and not mask[..., 2].any()
    assert np.array_equal(mask[..., 0] + 256 * mask[..., 1], prediction)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_masks__format_only_needs_a_folder() -> None:
    with pytest.raises(ValueError, match="format_only=True without output_dir writes nothing"):
        ImageNetSMetric(format_only=True)
