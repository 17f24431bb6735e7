"""Curves from scalars."""

from pathlib import Path

import pytest
from PIL import Image

from mmrel.visualization.curves import draw_finetuning, draw_pretraining


@pytest.mark.parametrize("count", [1, 4])
def test_draw__writes_pictures(count: int, tmp_path: Path) -> None:
    records = [
        {"loss_cls": 5.0 - i, "loss_patch": 4.0, "loss": 9.0 - i, "step": 10 * i}
        for i in range(count)
    ]
    records += [{"knn/top1_k20": 30.0 + i, "epoch": i, "step": 10 * i} for i in range(count)]
    draw_pretraining(records, "knn/top1_k20", {"random": 30.0}, tmp_path / "a.png")
    draw_finetuning({"x": (records, records)}, ("a", "b"), tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        assert min(Image.open(tmp_path / name).size) > 300
