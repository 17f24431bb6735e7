"""tools/davis.py: figures beside random weights and copies, a folder of frames, pictures, and its errors."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from mmrel.datasets.scenes import make_scenes
from mmrel.evaluation.davis import read_mask, write_mask

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = ROOT / "tools" / "davis.py"
    spec = importlib.util.spec_from_file_location("davis_tool", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def davis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    make_scenes(root, num_train=1, num_val=240, image_size=48, layouts=("davis",), workers=1)
    return root / "davis"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("run") / "epoch_1.pth"
    model = tiny.build(tiny.dino())
    torch.save({"state_dict": model.state_dict(), "meta": {}}, path)
    return str(path)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A pretraining's config: random weights, so that no checkpoint's layout matters here."""
    path = tmp_path_factory.mktemp("config") / "dino.py"
    path.write_text(f"model = {tiny.dino()!r}\n")
    return str(path)


SMALL = ("--size", "24", "--neighbourhood", "3", "--device", "cpu")


def test_davis__beside_random_weights_and_copies(
    tool: ModuleType, davis: Path, config: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out, report = tmp_path / "out", tmp_path / "deep" / "davis.json"
    options = ["--random", "--copy-first", "--out", out, "--json", report, "--video"]
    assert tool.main([config, "--data-root", str(davis), *SMALL, *map(str, options)]) == 0
    printed = capsys.readouterr()
    assert "ETA" in printed.err
    lines = printed.out.splitlines()
    [head] = [line for line in lines if line.startswith("sequence (J&F)")]
    assert head.split() == [
        "sequence",
        "(J&F)",
        "objects",
        "checkpoint",
        "random",
        "weights",
        "first",
        "mask",
        "copied",
    ]
    [row] = [line for line in lines if line.startswith("val-0001")]
    content = json.loads(report.read_text())
    assert set(content["results"]) == {"checkpoint", "random weights", "first mask copied"}
    copied = content["results"]["first mask copied"]
    assert float(row.split()[-1]) == pytest.approx(
        100 * copied["per_sequence"]["val-0001"]["jf_mean"], abs=0.051
    )
    [total] = [
        line for line in lines if line.startswith("first mask copied") and "sequ" not in line
    ]
    assert float(total.split()[3]) == pytest.approx(100 * copied["jf_mean"], abs=0.051)
    assert content["settings"]["size"] == 24
    assert sorted(path.name for path in out.iterdir()) == [
        f"val-000{k}{end}" for k in (0, 1) for end in ("", ".strip.png", ".webp")
    ]
    with Image.open(out / "val-0000.webp") as clip:
        assert clip.n_frames == 12
    assert len([*(out / "val-0000").iterdir()]) == 12
    # The files are the masks that were scored.
    again = tmp_path / "again.json"
    assert tool.main(["--masks", str(out), "--data-root", str(davis), "--json", str(again)]) == 0
    [scored] = json.loads(again.read_text())["results"].values()
    assert scored == content["results"]["checkpoint"]


def test_frames__a_folder_with_a_first_mask(
    tool: ModuleType, davis: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    frames = davis / "JPEGImages" / "480p" / "val-0000"
    first = davis / "Annotations" / "480p" / "val-0000" / "00000.png"
    paths = ["--frames", frames, "--first-mask", first, "--out", tmp_path, "--video", "gif"]
    assert tool.main([checkpoint, "--num-heads", "2", *SMALL, *map(str, paths)]) == 0
    assert f"12 masks: {tmp_path / 'val-0000'}" in capsys.readouterr().out
    masks = sorted((tmp_path / "val-0000").iterdir())
    assert [path.name for path in masks] == [f"{k:05d}.png" for k in range(12)]
    assert np.array_equal(read_mask(masks[0]), read_mask(first))
    assert (tmp_path / "val-0000.strip.png").is_file()
    with Image.open(tmp_path / "val-0000.gif") as clip:
        assert clip.is_animated


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --data-root"),
        (["x.pth"], "give either --data-root"),
        (["x.pth", "--data-root", "a", "--frames", "b"], "give either --data-root"),
        (["x.pth", "--frames", "b"], "--frames needs --first-mask and --out"),
        (["--data-root", "a"], "give a checkpoint, --copy-first or --masks"),
        (["--data-root", "a", "--copy-first", "--random"], "give a checkpoint"),
        (["x.pth", "--data-root", "a", "--video"], "--video needs --out"),
        (["x.pth", "--data-root", "a", "--size", "0"], "0 is not 1 or more"),
        (
            ["x.pth", "--frames", "b", "--first-mask", "c", "--out", "d", "--random"],
            "are for --data-root",
        ),
    ],
)
def test_arguments__that_do_not_go_together(
    tool: ModuleType, arguments: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as end:
        tool.main(arguments)
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_errors__are_told_in_a_line(
    tool: ModuleType, davis: Path, config: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def told(*arguments: object) -> str:
        assert tool.main([*map(str, arguments), *SMALL]) == 1
        [line] = [x for x in capsys.readouterr().err.splitlines() if x.startswith("davis: ")]
        return line

    assert "no list" in told(config, "--data-root", davis, "--split", "test")
    assert "does not exist" in told("none.pth", "--data-root", davis)
    assert "temperature is 0.0" in told(config, "--data-root", davis, "--temperature", "0")
    for sequence in ("val-0000", "val-0001"):
        for k in range(12):
            write_mask(tmp_path / sequence / f"{k:05d}.png", np.full((48, 48), 9, np.uint8))
    assert "object 9 is predicted" in told("--data-root", davis, "--masks", tmp_path)
    frames = davis / "JPEGImages" / "480p" / "val-0000"
    (tmp_path / "text.png").write_text("no image")
    wrong = ("--frames", frames, "--first-mask", tmp_path / "text.png", "--out", tmp_path / "out")
    assert "text.png" in told(config, *wrong)
