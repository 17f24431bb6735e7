"""tools/knn.py: the number that the hook logged, from the checkpoint; and any checkpoints on a folder."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import tiny
import torch
from checkpoints import official
from PIL import Image

from mmrel.apis import get_backbone
from mmrel.apis.knn import evaluate_knn

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


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three classes in each split."""
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 6), ("val", 3)):
        for tone, name in ((60, "bark"), (120, "sand"), (180, "sky")):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = tone + torch.randint(-60, 60, (22, 30, 3), generator=generator)
                Image.fromarray(pixels.byte().numpy()).save(folder / f"{number}.png")
    return tmp_path / "photos"


def save(path: Path, layout: str) -> Path:
    torch.manual_seed(1)
    return official.save(official.LAYOUTS[layout]().content, path)


FAST = ("--workers", 0, "--device", "cpu", "--num-heads", 3)


def test_knn__checkpoints_on_a_folder(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """DINO's, DINOv2's and timm's layouts side by side; the figures are the library's."""
    files = [save(tmp_path / f"{name}.pth", name) for name in ("dino", "dinov2", "timm")]
    out, sizes = tmp_path / "knn.json", ("--image-size", 112, "--feature", "avg")
    asked = ("--k", 1, 4, "--random", "--thumbnails", "--out", out)
    run(monkeypatch, *files, photos, *sizes, *asked, *FAST)
    shown, rows = capsys.readouterr(), json.loads(out.read_text())["results"]
    names = [row["name"] for row in rows]
    random = [f"random weights as {name}.pth" for name in ("dino", "dinov2", "timm")]
    assert names == ["dino.pth", "dinov2.pth", "timm.pth", *random, "16x16 thumbnails"]
    assert "9 images of" in shown.out and "18 of" in shown.out and "3 classes" in shown.out
    assert "ETA" in shown.err and "27/27" in shown.err
    for file, row in zip(files, rows, strict=False):
        options = dict(feature="avg", crop=112, k=(1, 4), workers=0)
        expected = evaluate_knn(get_backbone(file, num_heads=3), photos, **options)
        assert row["top1"] == {str(k): value for k, value in expected.top1.items()}
        assert row["val"] == str(photos / "val") and str(file) in row["weights"]
        cells = "".join(f"{f'{expected.top1[k]:.2f} ({expected.top5[k]:.2f})':>16}" for k in (1, 4))
        [line] = [line for line in shown.out.splitlines() if line.startswith(file.name)]
        assert line.endswith(cells)


def test_knn__without_a_split_and_of_blocks(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    path = save(tmp_path / "dino.pth", "dino")
    options = ("--out-indices", -2, -1, "--no-norm", "--image-size", 64, 96, "--resize", 80)
    asked = ("--k", 3, "--network", "student", "--out", tmp_path / "x.json")
    run(monkeypatch, path, photos / "train", *options, *asked, *FAST)
    [row] = json.loads((tmp_path / "x.json").read_text())["results"]
    backbone = get_backbone(path, "student", num_heads=3)
    options = dict(out_indices=(0, 1), out_norm=False, crop=(64, 96), resize=80, k=(3,), workers=0)
    expected = evaluate_knn(backbone, photos / "train", **options)
    assert row["top1"] == {"3": expected.top1[3]} and row["val"] is None
    assert row["feature"] == "cls of blocks 0, 1 before the norm"
    assert "each of 18 images by its nearest others" in capsys.readouterr().out
    run(monkeypatch, path, photos / "train", "--val", photos / "val", "--k", 3, *FAST)
    assert "9 images of" in capsys.readouterr().out


def test_knn__a_folder_s_usage_errors(
    config: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    path = save(tmp_path / "dino.pth", "dino")
    lacking = tmp_path / "lacking.pth"
    whole = official.dino()
    part = {k: v for k, v in whole.teacher.items() if k != "norm.bias"}
    official.save(whole.build(part), lacking)
    (photos / "train" / "sky" / "0.png").write_bytes(b"")
    (photos / "train" / "sky" / "1.png").write_bytes(b"")
    cases = [
        ((path,), "only '"),
        ((path, photos, "--out", tmp_path), "is a folder; give the name of the file"),
        ((path, tmp_path / "none"), "none' does not exist"),
        ((tmp_path / "none.pth", photos), "none.pth' does not exist"),
        ((lacking, photos), "norm.bias"),
        ((path, photos / "train", "--k", 18), "k is [18]; give numbers from 1 to 17"),
        ((path, photos, "--image-size", 100), "not a whole number of 16-pixel patches"),
        ((path, photos, "--image-size", 1, 2, 3), "--image-size is [1, 2, 3]"),
        ((path, photos, "--out-indices", 7), "not valid for 2 blocks"),
        ((path, photos, "--cfg-options", "a=1"), "--cfg-options cannot be used with CHECKPOINT"),
        ((path, photos), "error: 2 of 18 files"),
        ((config, path, "--random", "--image-size", 64), "--image-size, --random cannot be used"),
    ]
    for arguments, message in cases:
        with pytest.raises(SystemExit) as end:
            run(monkeypatch, *arguments, *(FAST if arguments[0] != config else ()))
        assert end.value.code == 2
        assert message in capsys.readouterr().err, message
    run(monkeypatch, path, photos, "--max-bad-fraction", 0.2, "--k", 1, *FAST)
    assert "2 unreadable file(s) left out" in capsys.readouterr().out
