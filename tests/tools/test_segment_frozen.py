"""tools/segment_frozen.py: what it prints and writes, and what it says about wrong input."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import tiny
import torch
from labelled_images import network, write_images
from PIL import Image

from mmrel.launch.safe_loading import restore_loading

TOOL = Path(__file__).parents[2] / "tools" / "segment_frozen.py"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled images in ``data`` and two checkpoints."""
    root = tmp_path_factory.mktemp("frozen")
    write_images(root / "data" / "train", 4)
    write_images(root / "data" / "val", 3, 1)
    (root / "names.txt").write_text("ground\nred thing\n\ngreen\nblue\n")
    for seed, name in enumerate(("one", "two")):
        backbone = network(tiny.vit())
        torch.manual_seed(seed)
        state = {
            f"backbone.{key}": value + 0.1 * torch.randn_like(value)
            for key, value in backbone.state_dict().items()
        }
        meta = dict(num_heads=tiny.HEADS, img_size=tiny.GLOBAL, patch_size=tiny.PATCH)
        torch.save({"state_dict": state, "meta": meta}, root / f"{name}.pth")
    return root


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
    try:
        runpy.run_path(str(TOOL), run_name="__main__")
    finally:
        restore_loading()


def test_knn__table_json_and_picture(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, png = tmp_path / "deep" / "a.json", tmp_path / "a.png"
    checkpoints = (root / "one.pth", root / "two.pth")
    options = ("--random", "--k", 5, "--classes", root / "names.txt", "--device", "cpu")
    run(monkeypatch, "knn", *checkpoints, root / "data", *options, "--out", out, "--pictures", png)
    printed = capsys.readouterr().out
    assert "4 training and 3 validation images, 4 classes" in printed and "red thing" in printed
    head = next(line for line in printed.splitlines() if line.startswith("class "))
    assert head.split() == ["class", "random", "one", "two"]
    report = json.loads(out.read_text())
    values = [report["results"][name]["miou"] for name in ("random", "one", "two")]
    assert len(set(values)) == 3
    assert "mIoU" in printed and all(f"{value:.1f}" in printed for value in values)
    assert report["arguments"]["k"] == 5
    assert Image.open(png).width > 1000


def test_linear__options_reach_the_library(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.json"
    options = ("--learning-rates", 0.01, 0.03, "--epochs", 2, "--batch-size", 8)
    options += ("--out-indices", 0, 1, "--no-norm", "--max-train", 2, "--max-val", 1, "--size", 32)
    run(monkeypatch, "linear", root / "one.pth", root / "data", *options, "--out", out)
    report = json.loads(out.read_text())
    assert (report["num_train"], report["num_val"]) == (2, 1)
    assert list(report["results"]["one"]["miou_of_rates"]) == ["0.01", "0.03"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("knn", "one.pth", "nowhere"), "no labelled images in a known layout"),
        (("knn", "nowhere.pth", "data"), "does not exist"),
        (("knn", "one.pth", "data", "--k", "9999"), "k is 9999, but the bank has"),
        (("knn", "one.pth", "data", "--size", "2"), "smaller than a patch"),
        (("knn", "one.pth", "data", "--out", "data"), "is a folder"),
        (("knn", "one.pth", "one.pth", "data"), "two have the same path"),
        (("linear", "one.pth", "data", "--learning-rates", "0"), "learning_rates are"),
        (("knn", "one.pth", "data", "--device", "tpu:3"), "cannot be used"),
    ],
)
def test_tool__wrong_input_is_told_in_one_paragraph(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(root)
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, *arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_tool__broken_mask(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for split in ("train", "val"):
        write_images(data / split, 2)
    (data / "val" / "masks" / "1.png").write_bytes(b"no image")
    with pytest.raises(SystemExit):
        run(monkeypatch, "knn", root / "one.pth", data, "--k", 3)
    assert "val/masks/1.png: UnidentifiedImageError" in capsys.readouterr().err
