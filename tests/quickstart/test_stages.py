"""Stages: done once, re-run when their inputs change, a failure shows the end of the log."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mmrel.quickstart.process import GIVE_WAY
from mmrel.quickstart.stages import Stage, StageError, StageRunner
from mmrel.quickstart.terminal import Terminal, compact
from mmrel.utils.text import format_seconds

WRITE = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('x'); print(*sys.argv[2:])"


class Lines(list):
    """Keeps what would be shown."""

    def __call__(self, stage: str, line: str) -> None:
        self.append((stage, line))


def make(tmp_path: Path, name: str = "a", code: str = WRITE, **kwargs: Any) -> Stage:
    output = tmp_path / name / "out.txt"
    output.parent.mkdir(exist_ok=True)
    settings: dict[str, Any] = dict(inputs={"epochs": 1}, outputs=(output,))
    return Stage(name, ("-c", code, str(output)), **{**settings, **kwargs})


@pytest.fixture
def shown() -> Lines:
    return Lines()


@pytest.fixture
def runner(tmp_path: Path, shown: Lines) -> StageRunner:
    return StageRunner(tmp_path / "work", tmp_path, shown)


def test_stage__done_once(tmp_path: Path, runner: StageRunner, shown: Lines) -> None:
    stage = make(tmp_path)
    assert not runner.is_done(stage)
    runner.run(stage)
    assert runner.is_done(stage)
    stamp = runner.stamp(stage) or {}
    assert stamp["inputs"] == {"epochs": 1} and stamp["seconds"] >= 0
    assert stamp["command"].startswith("python -c")
    shown.clear()
    runner.run(stage)
    assert shown == [("a", "already done")]


def test_stage__runs_again_if_inputs_change_or_an_output_is_gone(
    tmp_path: Path, runner: StageRunner
) -> None:
    stage = make(tmp_path)
    runner.run(stage)
    assert not runner.is_done(make(tmp_path, inputs={"epochs": 2}))
    assert stage.digest() != make(tmp_path, inputs={"epochs": 2}).digest()
    stage.outputs[0].unlink()
    assert not runner.is_done(stage)


def test_stage__folder_is_emptied_for_a_new_start(tmp_path: Path, runner: StageRunner) -> None:
    folder = tmp_path / "folder"
    code = "import pathlib, sys; p = pathlib.Path(sys.argv[2]); p.mkdir(); (p / 'new').touch()"
    old, new = folder / "old", folder / "new"
    stage = Stage("a", ("-c", code, "", str(folder)), {"epochs": 1}, (new,), folder=folder)
    runner.run(stage)
    old.touch()
    runner.run(Stage("a", stage.command, {"epochs": 2}, (new,), folder=folder))
    assert new.exists() and not old.exists()


def test_stage__failure_shows_the_tail_and_is_not_stamped(
    tmp_path: Path, runner: StageRunner
) -> None:
    stage = make(tmp_path, code="print('first'); raise SystemExit('this went wrong')")
    with pytest.raises(
        StageError, match="(?s)first.*this went wrong.*stage 'a' ended with code 1.*a.log"
    ):
        runner.run(stage)
    assert not runner.is_done(stage)
    missing = make(tmp_path, code="print('fine')")
    with pytest.raises(StageError, match="ended without writing .*out.txt"):
        runner.run(missing)


def test_stage__an_interrupted_run_is_continued_with_the_same_inputs_only(
    tmp_path: Path, runner: StageRunner
) -> None:
    code = "import sys, pathlib\nif '--resume' not in sys.argv: sys.exit(3)\npathlib.Path(sys.argv[1]).touch()"
    stage = make(tmp_path, code=code, resume=("--resume",), folder=tmp_path / "a")
    with pytest.raises(StageError):
        runner.run(stage)
    stage.outputs[0].parent.mkdir()
    with pytest.raises(StageError):
        runner.run(
            make(
                tmp_path,
                code=code,
                resume=("--resume",),
                folder=tmp_path / "a",
                inputs={"epochs": 2},
            )
        )
    stage.outputs[0].parent.mkdir()
    again = make(
        tmp_path, code=code, resume=("--resume",), folder=tmp_path / "a", inputs={"epochs": 2}
    )
    runner.run(again)
    assert runner.is_done(again)


def test_stage__side_by_side_the_other_is_ended_when_one_fails(
    tmp_path: Path, runner: StageRunner
) -> None:
    slow = make(tmp_path, "slow", code="import time; time.sleep(60)")
    bad = make(tmp_path, "bad", code="import time; time.sleep(.3); raise SystemExit(2)")
    with pytest.raises(StageError, match="'bad' ended with code 2"):
        runner.run(slow, bad)
    assert not runner.is_done(slow)


def test_stage__environment_reaches_the_process(
    tmp_path: Path, runner: StageRunner, shown: Lines
) -> None:
    code = "import os, sys, pathlib; pathlib.Path(sys.argv[1]).touch(); print(os.environ['OMP_NUM_THREADS'])"
    runner.run(make(tmp_path, code=code, environment={"OMP_NUM_THREADS": "7"}))
    assert shown[-1] == ("a", "7")


def test_stage__starts_when_what_it_needs_is_done_and_there_is_room(
    tmp_path: Path, runner: StageRunner, shown: Lines
) -> None:
    """The last one in the list does not need the slow first one, and so does not wait for it."""
    slow = make(tmp_path, "slow", WRITE + "; import time; time.sleep(1)")
    after = make(tmp_path, "after", needs=("slow",))
    beside = make(tmp_path, "beside")
    runner.run(slow, after, beside)
    started = [name for name, line in shown if line.startswith("python")]
    assert started == ["slow", "beside", "after"]
    assert all(runner.is_done(stage) for stage in (slow, after, beside))
    shown.clear()
    runner.run(slow, after, beside)
    assert [line for _, line in shown] == 3 * ["already done"]


def test_stage__one_at_a_time_on_one_core(tmp_path: Path, shown: Lines) -> None:
    code = (
        "import sys, pathlib, time; own = pathlib.Path(sys.argv[1]); busy = own.parents[1] / 'busy'; "
        "busy.touch(exist_ok=False); time.sleep(.2); busy.unlink(); own.touch()"
    )
    runner = StageRunner(tmp_path / "work", tmp_path, shown, at_once=1)
    runner.run(*(make(tmp_path, name, code) for name in "abc"))
    assert [name for name, line in shown if line.startswith("python")] == ["a", "b", "c"]


def test_stage__what_needs_a_failed_one_does_not_start(
    tmp_path: Path, runner: StageRunner, shown: Lines
) -> None:
    bad = make(tmp_path, "bad", code="raise SystemExit(2)")
    with pytest.raises(StageError, match="'bad' ended with code 2"):
        runner.run(bad, make(tmp_path, "after", needs=("bad",)))
    assert {name for name, _ in shown} == {"bad"}


def test_stage__that_ended_well_stays_done_when_another_fails(
    tmp_path: Path, runner: StageRunner
) -> None:
    good = make(tmp_path, "good")
    bad = make(tmp_path, "bad", code="import time; time.sleep(2); raise SystemExit(2)")
    with pytest.raises(StageError):
        runner.run(bad, good)
    assert runner.is_done(good)


def test_stage__needs_in_a_circle_are_an_error(tmp_path: Path, runner: StageRunner) -> None:
    stages = make(tmp_path, "a", needs=("b",)), make(tmp_path, "b", needs=("a",))
    with pytest.raises(ValueError, match="a, b need each other"):
        runner.run(*stages)


@pytest.mark.skipif(not hasattr(os, "setpriority"), reason="Windows has no niceness")
@pytest.mark.parametrize(("at_once", "added"), [(1, 0), (2, GIVE_WAY)])
def test_stage__gives_way_to_others_if_there_may_be_any(
    tmp_path: Path, shown: Lines, at_once: int, added: int
) -> None:
    code = (
        "import os, sys, time, pathlib; time.sleep(.3); pathlib.Path(sys.argv[1]).touch(); "
        "print('nice', os.getpriority(os.PRIO_PROCESS, 0))"
    )
    own = os.getpriority(os.PRIO_PROCESS, 0)
    runner = StageRunner(tmp_path / "work", tmp_path, shown, at_once)
    runner.run(make(tmp_path, code=code, gives_way=True))
    assert shown[-1] == ("a", f"nice {min(19, own + added)}")


@pytest.mark.parametrize(("seconds", "text"), [(3.4, "0:03"), (61, "1:01"), (3725.2, "1:02:05")])
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "11/22 - mmengine - INFO - Epoch(train)  [1][10/31]  base_lr: 3e-04 lr: 3e-04  eta: 0:13:10  "
            "time: 15.2  grad_norm_max: 16.5  loss: 16.1405  stat/x: 0.5  loss_cls: 8.0",
            "epoch 1, iteration 10 of 31, loss 16.1405, eta 0:13:10",
        ),
        (
            "- INFO - Iter(train) [ 20/200]  lr: 2e-04  eta: 0:03:36  loss: 3.38",
            "iteration 20 of 200, loss 3.38, eta 0:03:36",
        ),
        (
            "INFO - Epoch(knn) [0]  knn/top1_k20: 21.8000  knn/top5_k20: 74.2",
            "k-NN (k=20) of random weights: 21.8 %",
        ),
        ("INFO - Epoch(knn) [3]  knn/top1_k20: 41.25", "k-NN (k=20) after epoch 3: 41.2 %"),
        (
            "Epoch(val) [0][3/3]  coco/bbox_mAP: 0.1870  coco/bbox_mAP_50: 0.371 coco/segm_mAP: 0.177",
            "box AP 18.7, mask AP 17.7",
        ),
        ("Iter(val) [38/38]    aAcc: 58.95  mIoU: 17.7600  mAcc: 26.01", "mIoU 17.8"),
        ("Iter(val) [20/38]    eta: 0:00:05", None),
        ("Saving checkpoint at 1 epochs", None),
        ("scenes in data/scenes: written in 34.0 s", "scenes in data/scenes: written in 34.0 s"),
    ],
)
def test_compact__log_lines(line: str, text: str | None) -> None:
    assert compact(line) == text


def test_terminal__limits_training_lines(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(interval=60)
    for i in range(3):
        terminal("pretrain", f"Iter(train) [ {i}/9]  loss: 1.0")
    terminal("pretrain", "nothing of interest")
    terminal("pretrain", "Epoch(knn) [1]  knn/top1_k20: 50.0")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "[00:00] pretrain: iteration 0 of 9, loss 1.0",
        "[00:00] pretrain: k-NN (k=20) after epoch 1: 50.0 %",
    ]


def test_stamp__is_json_that_a_person_can_read(tmp_path: Path, runner: StageRunner) -> None:
    stage = make(tmp_path)
    runner.run(stage)
    content = json.loads((tmp_path / "work" / "stamps" / "a.json").read_text())
    assert set(content) == {"inputs", "command", "seconds", "finished"}
