"""Every tool answers ``--help`` and mistakes in its arguments before torch is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = sorted((ROOT / "tools").glob("*.py"))
SLOW = {"torch", "torchvision", "mmcv", "mmpretrain", "mmdet", "mmseg"}
CODE = """
import runpy, sys
code = None
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    code = end.code
print("\\n", code, *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("option", ["--help", "--no-such-option"])
@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: path.stem)
def test_tool__answers_before_anything_slow_is_imported(tool: Path, option: str) -> None:
    command = [sys.executable, "-c", f"import sys; sys.argv = {[str(tool), option]}\n{CODE}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, *modules = done.stdout.splitlines()[-1].split()
    assert code == ("0" if option == "--help" else "2")
    assert not SLOW & set(modules)
    assert "usage:" in (done.stdout if option == "--help" else done.stderr)


def test_conversion__reads_without_the_model_zoos() -> None:
    """What reads a checkpoint needs torch and MMEngine's log buffers, no more."""
    code = "import sys, mmrel.checkpoints as c; c.convert, c.convert_full; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "torch" in loaded and not {"mmcv", "mmpretrain", "mmdet"} & loaded
