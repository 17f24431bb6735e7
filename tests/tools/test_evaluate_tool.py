"""tools/evaluate.py: a run on tiny data, what it prints, and its exit codes."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import evaluation_toys as toys
import pytest
import torch
from checkpoints import official

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs the tool with arguments; returns the exit code."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / "tools" / "evaluate.py"), run_name="__main__")
        return int(end.value.code or 0)

    return call


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return toys.save_classes(tmp_path / "scenes" / "classification", train=30).parent


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return toys.save_checkpoint(tmp_path / "epoch_1.pth")


def test_tool__knn_and_tokens_twice(tool, data, checkpoint, tmp_path, capsys) -> None:
    """Colours are told apart; the second call repeats nothing."""
    out = tmp_path / "out"
    command = [checkpoint, "--data", data, "--out", out, "--protocols", "knn", "tokens"]
    command += ["--no-random", "--device", "cpu"]
    assert tool(*command) == 0
    printed = capsys.readouterr()
    assert f"report: {out}/report.html" in printed.out
    assert "1/3 DINO, knn: k-NN (class token)" in printed.err and "left" in printed.err
    rows = json.loads((out / "results.json").read_text())["results"]
    found = {(row["network"], row["protocol"]): row["figures"] for row in rows}
    assert set(found["DINO", "knn"]) == {"k10_cls", "k20_cls", "k10_avg", "k20_avg"}
    assert found["16\N{MULTIPLICATION SIGN}16 thumbnails", "knn"]["k20_pixels"] == 100
    assert 1 <= found["DINO", "tokens"]["effective_rank"] <= 12
    before = {path: path.stat().st_mtime_ns for path in out.glob("stages/*")}
    assert tool(*command) == 0 and capsys.readouterr().err.count("done before") == 3
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("stages/*")}


@pytest.mark.parametrize("layout", ["dino", "timm", "dinov2", "hf_dinov2"])
def test_tool__other_projects_layouts(tool, data, tmp_path, layout) -> None:
    """What the file does not tell is given: heads, mean and deviation; the page says what was loaded."""
    path = tmp_path / f"{layout}.pth"
    torch.save(getattr(official, layout)().content, path)
    out = tmp_path / "out"
    command = [path, "--data", data, "--out", out, "--protocols", "tokens", "--no-random"]
    command += ["--num-heads", official.HEADS, "--device", "cpu"]
    command += ["--mean", 120, 120, 120, "--std", 60, 60, 60]
    assert tool(*command) == 0
    content = json.loads((out / "results.json").read_text())
    assert content["networks"][0]["tensors"].endswith("none missing")
    assert content["networks"][0]["layout"].startswith(layout.replace("_", "-"))
    assert content["results"][0]["figures"]["effective_rank"] > 1


def test_tool__failure_ends_with_code_1(tool, data, checkpoint, tmp_path, capsys) -> None:
    """Classes of the validation images that training has not: that protocol fails, the other does not."""
    (data / "classification" / "val" / "sand").rename(data / "classification" / "val" / "snow")
    command = [checkpoint, "--data", data, "--out", tmp_path / "out", "--no-thumbnails"]
    command += ["--no-random", "--device", "cpu", "--protocols", "knn", "tokens"]
    assert tool(*command) == 1
    printed = capsys.readouterr().err
    assert "DINO, knn: FAILED" in printed and "snow" in printed and "tokens: cosine" in printed
    assert "snow" in (tmp_path / "out" / "report.html").read_text()


def test_tool__wrong_arguments_end_with_code_2(tool, data, checkpoint, tmp_path, capsys) -> None:
    out = ["--out", tmp_path / "out"]
    wrong = {
        "no data; give --data ROOT": [checkpoint],
        "no usable data": [checkpoint, "--data", tmp_path],
        "does not exist": [tmp_path / "absent.pth", "--data", data],
        "the suite is 'slow'": [checkpoint, "--data", data, "--suite", "slow"],
        "there is no protocol knnn": [checkpoint, "--data", data, "--protocols", "knnn"],
        "holds files but no evaluation": [checkpoint, "--data", data, "--out", data],
        "the following arguments are required: CHECKPOINT": ["--data", data],
    }
    for message, arguments in wrong.items():
        assert tool(*out, *arguments) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
