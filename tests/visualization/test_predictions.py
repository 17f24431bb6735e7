"""Pictures of predictions."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from PIL import Image

from mmrel.visualization.predictions import (
    Instance,
    Panel,
    class_map,
    draw_rows,
    paint_instances,
    paint_labels,
    predicted_instances,
    run_config,
)

PALETTE = ((200, 0, 0), (0, 0, 200))


def test_paint_labels__palette_and_ignored_border() -> None:
    painted = paint_labels(np.array([[0, 1], [255, 1]]), PALETTE)
    assert painted.tolist() == [[[200, 0, 0], [0, 0, 200]], [[255, 255, 255], [0, 0, 200]]]


def test_paint_instances__tints_the_mask_best_on_top() -> None:
    image = np.full((1, 3, 3), 100, dtype=np.uint8)
    left, both = np.array([[1, 0, 0]], dtype=bool), np.array([[1, 1, 0]], dtype=bool)
    box = (0.0, 0.0, 2.0, 1.0)
    painted = paint_instances(
        image, [Instance(0, box, left, 0.9), Instance(1, box, both, 0.5)], PALETTE
    )
    assert painted.tolist() == [[[155, 45, 45], [45, 45, 155], [100, 100, 100]]]


def test_predicted_instances__above_the_score() -> None:
    found = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3]]),
        labels=torch.tensor([1, 0]),
        scores=torch.tensor([0.9, 0.3]),
        masks=torch.ones(2, 4, 4, dtype=torch.bool),
    )
    (kept,) = predicted_instances(SimpleNamespace(pred_instances=found), 0.4)
    assert (kept.label, kept.box, round(kept.score or 0, 3)) == (1, (0.0, 0.0, 2.0, 2.0), 0.9)
    assert kept.mask.shape == (4, 4)


def test_class_map__without_channel() -> None:
    assert class_map(PixelData(data=torch.tensor([[[0, 255]]]))).tolist() == [[0, 255]]


def test_draw_rows__writes_a_picture(tmp_path: Path) -> None:
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    instance = Instance(1, (2, 2, 9, 9), np.eye(20, dtype=bool), 0.75)
    row = [
        Panel(image),
        Panel(image, (instance,)),
        Panel(image, labels=np.zeros((20, 20), dtype=int)),
    ]
    draw_rows(("image", "a", "b"), [row], ("star", "fish"), PALETTE, tmp_path / "p.png")
    assert min(Image.open(tmp_path / "p.png").size) > 300


def test_run_config__missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="did not start"):
        run_config(tmp_path, "config.py")
