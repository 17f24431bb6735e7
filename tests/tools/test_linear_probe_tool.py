"""tools/linear_probe.py: checkpoints of several projects, baselines, the report, and mistakes."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import official
from PIL import Image

TOOL = Path(__file__).parents[2] / "tools" / "linear_probe.py"
LAYOUTS = ("dino", "dinov2", "timm")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of eight images that differ in colour."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(3):
        (root / f"class{number}").mkdir()
        for i in range(8):
            pixels = rng.integers(0, 60, (70, 80, 3)) + 90 * np.eye(3)[number]
            Image.fromarray(pixels.astype(np.uint8)).save(root / f"class{number}" / f"{i}.png")
    return root


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable:
    """Run the tool in this process: exit status, output, errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(str(TOOL), run_name="__main__")
        except SystemExit as end:
            status = int(end.code or 0)
        return status, *capsys.readouterr()

    return run


def small(size: int) -> list[str]:
    return f"--image-size {size} --workers 0 --device cpu --num-heads 3 --epochs 3".split()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tool__checkpoints_of_other_projects(
    tool: Callable, images: Path, tmp_path: Path, layout: str
) -> None:
    torch.manual_seed(0)
    path = tmp_path / f"{layout}.pth"
    official.save(official.LAYOUTS[layout]().content, path)
    size = 70 if layout == "dinov2" else 64
    status, text, _ = tool(path, images, *small(size), "--settings", "0.1", "1", "--random")
    assert status == 0, text
    assert "linear probe: 18 images to train on, 6 to judge by, 3 classes" in text
    lines = [line for line in text.splitlines() if "cls of 2 blocks" in line]
    assert len(lines) == 2
    assert lines[0].startswith(path.name) and lines[1].startswith("random weights")


def test_tool__report_few_labels_and_thumbnails(
    tool: Callable, images: Path, tmp_path: Path
) -> None:
    pytest.importorskip("sklearn")
    path, out = tmp_path / "dino.pth", tmp_path / "new" / "probe.json"
    official.save(official.dino().content, path)
    options = ("--method", "logistic", "--shots", 2, "--thumbnails", "--out", out)
    status, text, progress = tool(path, images, *small(64), *options)
    assert status == 0 and "logistic regression: 6 images to train on, 6 to judge by" in text
    assert "ETA" in progress
    report = json.loads(out.read_text())
    assert (report["checkpoint"], report["method"]) == (str(path), "logistic")
    rows = report["results"]
    assert [row["name"] for row in rows] == ["dino.pth", "16x16 thumbnails"]
    assert len(rows[0]["top1"]) == 6 and rows[0]["feature"] == "cls"
    assert rows[1]["best_top1"] == 100  # the classes differ in colour


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.pth", "{images}"), "'none.pth' does not exist"),
        (("{checkpoint}", "{images}", "--out", "{images}"), "is a folder; give the name"),
        (("{checkpoint}", "none"), "'none' does not exist"),
        (("{checkpoint}", "{images}", "--shots", "7"), "fewer: class0 (6)"),
        (
            ("{checkpoint}", "{images}", "--val", "{images}/class0"),
            "has no folders, so that nothing tells the classes",
        ),
        (("{checkpoint}", "{images}", "--n-last-blocks", "3"), "n_last_blocks is 3, but"),
        (("{checkpoint}", "{images}", "--settings", "0"), "give numbers above 0"),
        (("{checkpoint}", "{images}", "--shots", "1", "--fraction", "0.1"), "not allowed with"),
        (("{checkpoint}", "{images}", "--device", "cuda:77"), "--device cuda:77 cannot be used"),
    ],
)
def test_tool__mistakes_are_told_in_one_line(
    tool: Callable, images: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    checkpoint = tmp_path / "dino.pth"
    official.save(official.dino().content, checkpoint)
    given = [text.format(images=images, checkpoint=checkpoint) for text in arguments]
    defaults = small(64)
    for option in [text for text in given if text.startswith("--") and text in defaults]:
        at = defaults.index(option)
        del defaults[at : at + 2]
    status, _, errors = tool(*given, *defaults)
    assert status == 2 and message in errors.strip().splitlines()[-1]
