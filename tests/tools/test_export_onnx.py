"""tools/export_onnx.py as a user runs it."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import official
from checkpoints.official import HEADS, save

TOOL = Path(__file__).parents[2] / "tools" / "export_onnx.py"


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("export_onnx", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tool__writes_a_file_that_onnxruntime_runs(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    source, out = save(official.vit(), tmp_path / "dino.pth"), tmp_path / "dino.onnx"
    options = ["--num-heads", str(HEADS), "--feature", "cls", "map", "--image-size", "48", "64"]
    done = subprocess.run(
        [sys.executable, str(TOOL), str(source), str(out), *options, "--dynamic", "all"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "images -> cls, map" in done.stdout
    for shape in ("1 x 3 x 48 x 64", "3 x 3 x 48 x 64", "2 x 3 x 64 x 112"):
        assert f"{shape}: largest difference from torch " in done.stdout
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    cls, maps = session.run(None, {"images": torch.rand(5, 3, 32, 32).numpy()})
    assert cls.shape == (5, 48) and maps.shape == (5, 48, 2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.pth", "x.onnx"), "'none.pth' does not exist"),
        (("dino.pth", "x.onnx"), "Give it with --num-heads"),
        (("dino.pth", ".", "--num-heads", "3"), "is a folder; give the name of the file"),
        (
            ("dino.pth", "x.onnx", "--num-heads", "3", "--image-size", "50"),
            "multiples of that, such as 48",
        ),
        (
            ("dino.pth", "x.onnx", "--image-size", "1", "2", "3"),
            "give one side, or height and width",
        ),
        (("flat.pth", "x.onnx", "--num-heads", "3", "--feature", "cls"), "has no class token"),
    ],
)
def test_tool__refuses(
    arguments: tuple[str, ...],
    message: str,
    tool: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    save(official.vit(), Path("dino.pth"))
    save(official.selfpatch().content, Path("flat.pth"))
    monkeypatch.setattr(sys, "argv", ["export_onnx.py", *arguments])
    with pytest.raises(SystemExit) as end:
        tool.main()
    assert end.value.code == 2 and message in capsys.readouterr().err
    assert not Path("x.onnx").exists()
