"""tools/pretrain.py: a whole run, its plan alone, and what it says of what cannot work."""

import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plan_toys
import pytest
import torch
from checkpoints import official

TOOL = Path(__file__).parents[2] / "tools" / "pretrain.py"
METHODS = ("sere", "ibot", "dino", "mocov3", "selfpatch", "sit", "relvit")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls the tool; its exit code, and what it printed and complained of."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(TOOL), run_name="__main__")
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return plan_toys.write_photos(tmp_path / "photos", 9)


def test_pretrain__plans_trains_exports_and_knows_that_it_is_done(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    arguments = (photos, "--method", "dino", "--epochs", 1, "--work-dir", tmp_path / "work")
    code, out, err = run(*arguments, "--preset", "cpu")
    assert code == 0, err
    assert "length         1 epoch = 1 step " in out and "--preset cpu" in out
    assert "WARNING  1 step is too few to learn anything" in out
    assert "backbone.pth" in out and "python tools/extract_features.py" in out
    backbone = torch.load(tmp_path / "work" / "backbone.pth", weights_only=True)
    assert backbone["meta"]["network"] == "teacher" and backbone["meta"]["embed_dims"] == 192
    code, out, err = run(*arguments)
    assert code == 0 and "That run is complete." in out and "Going on with the run" in out
    code, out, err = run(*arguments[:3], "--epochs", 2, *arguments[5:])
    assert code == 2 and "--epochs was 1 and is 2" in err


def test_pretrain__dry_run_writes_the_configuration_only(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    code, out, err = run(
        photos, "--method", "relvit", "--epochs", 3, "--work-dir", work, "--dry-run"
    )
    assert code == 0, err
    assert "Dry run: nothing was trained" in out
    assert [p.relative_to(work).as_posix() for p in work.rglob("*.*")] == ["plan/pretrain.py"]


def weights(tmp_path: Path, **sizes: Any) -> Path:
    state = official.vit(**{"width": 192, "depth": 12, "hidden": 768, "grid": (2, 2), **sizes})
    return official.save(state, tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{none}"], "does not exist (looked for"),
        (["{photos}", "--preset", "gpu"], "--preset gpu was given, but torch sees no GPU"),
        (["{photos}", "--batch", "1"], "--batch is 1; a step compares at least 2 images"),
        (["{photos}", "--resume"], "--resume was given, but"),
        (["{photos}", "--from", "{none}"], "--from"),
        (["{photos}", "--from", "{odd}"], "4 blocks, 192 wide, with patches of 16 pixels"),
        (
            ["{photos}", "--from", "{tiny}", "--network", "vit-small"],
            "that is vit-tiny, but --network is vit-small. Leave --network out",
        ),
    ],
)
def test_pretrain__says_what_is_wrong(
    arguments: list[str], words: str, run: Run, photos: Path, tmp_path: Path
) -> None:
    if torch.cuda.is_available() and "gpu" in arguments:
        pytest.skip("there is a GPU")
    names = dict(photos=photos, none=tmp_path / "none", odd="", tiny="")
    if "{odd}" in arguments:
        names["odd"] = weights(tmp_path, depth=4)
    if "{tiny}" in arguments:
        names["tiny"] = weights(tmp_path)
    given = [text.format(**names) for text in arguments]
    code, _, err = run(*given, "--work-dir", tmp_path / "work")
    assert code == 2 and words in err and err.startswith("error: ")
    assert "Traceback" not in err


@pytest.mark.parametrize("options", [["--hours", "0"], ["--hours", "1", "--epochs", "2"]])
def test_pretrain__refuses_lengths_that_are_none(options: list[str], run: Run) -> None:
    assert run("photos", *options)[0] == 2


def test_pretrain__a_gpu_that_runs_out_of_memory_gets_advice(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmrel.engine.loops.memory import StepOutOfMemoryError
    from mmrel.launch.runner import LaunchedRunner

    def train(self: Any) -> None:
        raise StepOutOfMemoryError("Out of memory in iteration 0: CUDA out of memory. More text")

    monkeypatch.setattr(LaunchedRunner, "train", train)
    code, _, err = run(photos, "--method", "relvit", "--epochs", 1, "--work-dir", tmp_path / "work")
    assert code == 2
    assert "The memory does not hold a step of 8 images. Start again with --batch 4" in err


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_pretrain__every_method_resumes_after_a_signal(
    method: str, photos: Path, tmp_path: Path
) -> None:
    """Interrupted in its second epoch; the same command goes on to the end."""
    command = [sys.executable, TOOL, photos, "--method", method, "--epochs", 4]
    command += ["--work-dir", tmp_path / "work", "--preset", "cpu"]
    log = tmp_path / "log.txt"
    with log.open("w") as out:
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=out)
        until = time.time() + 240
        while "Epoch(train) [2]" not in log.read_text() and time.time() < until:
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) in (143, -signal.SIGTERM), log.read_text()[-2000:]
    again = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "Going on with the run" in again.stdout
    assert (tmp_path / "work" / "backbone.pth").is_file()
