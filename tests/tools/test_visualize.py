"""tools/visualize.py: every kind of picture from the command line, and what it refuses."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from mmrel.apis.pictures import photos_below

TOOL = Path(__file__).parents[2] / "tools" / "visualize.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a checkpoint, one without class token, photographs of three shapes, and other files."""
    for name, config in (("dino", tiny.dino()), ("selfpatch", tiny.selfpatch())):
        state = tiny.build(config).state_dict()
        torch.save({"state_dict": state, "meta": {}}, tmp_path / f"{name}.pth")
    rng = np.random.default_rng(0)
    (tmp_path / "more").mkdir()
    for name, size in (("a", (20, 30)), ("b", (40, 20)), ("more/a", (24, 24)), ("small", (3, 9))):
        pixels = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    (tmp_path / "text.jpg").write_text("no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    kind, checkpoint, *rest = words.split()
    heads = ["--num-heads", str(tiny.HEADS)]
    arguments = [kind, f"{checkpoint}.pth", *rest, "--size", "16", *heads, "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [str(TOOL), *arguments])
    runpy.run_path(str(TOOL), run_name="__main__")


@pytest.mark.parametrize(
    ("words", "files"),
    [
        ("attention dino a.png --heads 0 --random", ["attention_a.png"]),
        (
            "attention dino a.png b.png --threshold 0.9 --block 0",
            ["attention_a.png", "attention_b.png"],
        ),
        ("attention selfpatch a.png --query mean --out new/x.svg", ["new/x.svg"]),
        ("similarity dino a.png b.png --at 0.5,0.2 29,19 --theme dark", ["similarity_a.png"]),
        (
            "relations dino a.png --at 3,4 --out figures --network student",
            ["figures/relations_a.png"],
        ),
        ("pca dino more a.png --out x.pdf", ["x.pdf"]),
        ("correspondence dino a.png b.png --by similarity", ["correspondence_a.png"]),
        ("correspondence selfpatch more/a.png --crops --seed 2", ["correspondence_a.png"]),
    ],
)
def test_tool__draws(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    words: str,
    files: list[str],
) -> None:
    run(monkeypatch, words)
    printed = capsys.readouterr().out
    for file in files:
        assert (folder / file).stat().st_size > 5000 and file in printed
    assert ("accuracy selfpatch.pth" in printed) == ("--crops" in words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "attention selfpatch a.png",
            "no class token, so there is no attention of it; query='mean' (--query",
        ),
        ("attention dino small.png", "3x9 pixels at size 16 is smaller than a patch of 4"),
        ("attention dino a.png --heads 7", "heads are [7]; this backbone has the heads 0 to"),
        ("attention dino a.png --block 12", "blocks [12] are not valid"),
        ("attention dino a.png --threshold 60", "mass is 60.0; it is a share"),
        ("attention dino a.png more/a.png", "two of the images have one name"),
        ("attention dino a.png b.png --out x.png", "2 figures cannot all be written to 'x.png'"),
        ("attention dino a.png --out x.gif", "must end with .png, or for vector graphics"),
        ("attention dino text.jpg", "text.jpg: "),
        ("attention dino none.png", "There is no image 'none.png'"),
        ("attention dino more", "'more' is a folder; attention takes files, and only pca folders"),
        ("attention none a.png", "'none.pth' does not exist"),
        (
            "similarity dino a.png --at 30,0",
            "outside of the image, which is 30 pixels wide and 20 high",
        ),
        ("similarity dino a.png --at 0.5,1.5", "outside of the image"),
        ("similarity dino a.png b.png a.png", "3 image(s) are given for similarity"),
        ("correspondence dino a.png", "needs two photographs, or one with crops=True (--crops)"),
        ("correspondence dino a.png b.png --crops", "needs one photograph"),
        ("pca dino .", "3x9 pixels at size 16 is smaller than a patch"),
        ("pca dino empty", "it holds 0; give 1 or more, of a folder with files that end with"),
    ],
)
def test_tool__usage_errors(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    words: str,
    message: str,
) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, words)
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error
    assert not list(folder.rglob("*_a.png")) and not list(folder.rglob("x.*"))


@pytest.mark.parametrize("text", ["5", "a,b", "1,2,3"])
def test_tool__points_that_are_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, text: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, f"similarity dino a.png --at {text}")
    assert "argument --at" in capsys.readouterr().err


def test_photos_below__spread_over_a_folder(tmp_path: Path) -> None:
    for index in range(9):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{index}.PNG")
    found = photos_below([tmp_path, tmp_path / "3.PNG"], 3)
    assert [path.stem for path in found] == ["0", "4", "8", "3"]
