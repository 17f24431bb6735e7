"""tools/knn.py: the number that the hook logged, from the checkpoint."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import tiny
import torch
from PIL import Image

TOOL = Path(__file__).parents[2] / "tools" / "knn.py"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name="__main__")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for label, value in (("bright", 220), ("dark", 20)):
        (tmp_path / label).mkdir()
        for number in range(3):
            image = Image.new("RGB", (16, 16), (value, value - 7 * number, value))
            image.save(tmp_path / label / f"{number}.jpg")
    pipeline = [dict(type="mmrel.DecodeImage"), dict(type="PackInputs")]
    loader = dict(
        batch_size=4,
        num_workers=0,
        collate_fn=dict(type="default_collate"),
        dataset=dict(
            type="mmrel.ImageFolder", data_root=str(tmp_path), with_label=True, pipeline=pipeline
        ),
    )
    hook = dict(type="mmrel.KNNHook", bank_dataloader=loader, val_dataloader=loader, k=(1,))
    path = tmp_path / "config.py"
    path.write_text(
        "default_scope = 'mmpretrain'\n"
        "custom_imports = dict(imports=['mmrel'], allow_failed_imports=False)\n"
        f"model = {tiny.dino()!r}\ncustom_hooks = [{hook!r}]\n"
    )
    return path


def test_knn__prints_and_writes(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    checkpoint, out = tmp_path / "epoch_1.pth", tmp_path / "knn.json"
    torch.save({"state_dict": tiny.build(tiny.dino()).state_dict(), "meta": {}}, checkpoint)
    run(monkeypatch, config, checkpoint, "--k", 1, 3, "--network", "student", "--out", out)
    result = json.loads(out.read_text())
    assert result["top1_k1"] == result["top1_k3"] == 100.0
    assert result["network"] == "student"
    assert "top1_k3: 100.0000" in capsys.readouterr().out


def test_knn__usage_errors(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    other = tmp_path / "other.pth"
    torch.save({"state_dict": {"backbone.x": torch.zeros(1)}}, other)
    cases = [
        ((config, tmp_path / "none.pth"), "There is no checkpoint"),
        ((config, other), "does not fit the model"),
        ((config, other, "--cfg-options", "custom_hooks=[]"), "has no mmrel.KNNHook"),
    ]
    for arguments, message in cases:
        with pytest.raises(SystemExit):
            run(monkeypatch, *arguments)
        assert message in capsys.readouterr().err
