"""The benchmark of the training step, in its tiny form: every setting runs, and its figures mean what they say."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import step_recipes  # noqa: E402
import step_table  # noqa: E402

from mmrel.utils import UsageError  # noqa: E402


def measured(ms: float, **values: Any) -> dict[str, Any]:
    times = {"ms": ms, "quartiles_ms": [ms, ms], "mean_ms": ms, "host_in_loader_ms": 0.0}
    row = dict(recipe="sere", compiled=False, batch=128, gpus=1, synthetic=times, warmup_s=1.0)
    return {**row, **values}


def run(*options: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / "step.py"), "--tiny", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


def test_mfu__share_of_the_peak() -> None:
    row = measured(100.0, tflop=9.89)
    assert step_table.mfu(row, step_table.peak_of("NVIDIA H100 80GB HBM3")) == pytest.approx(0.1)
    assert step_table.mfu(row, step_table.peak_of("another device")) is None
    assert step_table.mfu(measured(100.0, tflop=None), 989) is None
    assert step_table.peak_of("NVIDIA H100 PCIe") == 756


def test_scaling__images_per_second_against_one_gpu() -> None:
    rows = [measured(100.0), measured(125.0, gpus=8)]
    assert step_table.scaling(rows[1], rows) == pytest.approx(0.8)
    assert step_table.scaling(rows[0], rows) is None
    assert step_table.scaling(measured(125.0, gpus=8, batch=64), rows) is None


def test_table__errors_stand_in_their_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [measured(100.0), {"recipe": "sit", "compiled": True, "gpus": 1, "error": "no memory"}]
    step_table.print_rows(rows, "NVIDIA H100")
    told = capsys.readouterr().out
    assert "| sere | 1 x 128 | 100.0 | 100.0 - 100.0 | 1280 |" in told
    assert "| sit, compiled | 1 | no memory |" in told


def test_recipes__exist_with_their_batch_size() -> None:
    for recipe in [*step_recipes.RECIPES.values(), *step_recipes.TINY.values()]:
        assert (step_recipes.CONFIGS / recipe.config).is_file()
    for recipe in step_recipes.RECIPES.values():
        assert f"xb{recipe.batch}-" in recipe.config.replace("xb256-100e", "xb256-")
    with pytest.raises(UsageError, match="known tiny recipes are sere, selfpatch"):
        step_recipes.choose(["resnet"], tiny=True)


def test_worker__counts_the_products_of_a_step(tmp_path: Path) -> None:
    """The loader and the synthetic part run, and the operations are those of the network, counted by hand."""
    images = step_recipes.write_images(tmp_path, 32)
    out = tmp_path / "figures.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "step_worker.py"), "--recipe", "relvit"]
    options = ["--tiny", "--loader", "--batch=4", "--compile=off", "--warmup=2", "--steps=3"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    place = ["--images", str(images), "--out", str(out)]
    subprocess.run([*command, *options, *place], check=True, capture_output=True, env=environment)
    figures = json.loads(out.read_text())
    assert figures["batch"] == 4 and figures["gpus"] == 1
    for part in ("synthetic", "loader_fed"):
        low, high = figures[part]["quartiles_ms"]
        assert 0 < low <= figures[part]["ms"] <= high
    assert 0 < figures["first_step_s"] <= figures["warmup_s"]
    # Four blocks of 12 C^2 products per token, forward and twice that backward; attention, patches and heads are 8 %.
    blocks = 3 * 2 * (4 * 65) * 4 * 12 * 128**2 / 1e12
    assert 1.05 < figures["tflop"] / blocks < 1.15


@pytest.mark.slow
def test_script__two_processes_and_the_table() -> None:
    told = run("--recipes", "relvit", "--compile", "off", "--gpus", "1", "2", "--no-save")
    assert "| relvit | 1 x 8 |" in told and "% of 2 x one)" in told
