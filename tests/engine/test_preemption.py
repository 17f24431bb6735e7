"""A signal ends a run after the step, with a checkpoint and an exit code, and resume goes on bitwise."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import engine_toys
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmrel.engine import preemption
from mmrel.engine.preemption import EXIT_CODES, SignalWatch, release_signals

ITERATIONS = 18


@HOOKS.register_module()
class SignalAt(Hook):
    """Signals this process, or what ``to`` says, at the beginning of an iteration."""

    def __init__(self, number: int, iteration: int, times: int = 1) -> None:
        self.number, self.iteration, self.times = number, iteration, times

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == self.iteration:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)

    def before_val(self, runner: Any) -> None:
        if self.iteration < 0 and runner.epoch == -self.iteration:
            os.kill(os.getpid(), self.number)


@HOOKS.register_module()
class TerminateWorkers(Hook):
    """Sends SIGTERM, SIGUSR1 and SIGINT to the loader workers, as a scheduler signals the whole job."""

    def after_train_iter(self, runner: Any, batch_idx: int, **kwargs: Any) -> None:
        if runner.iter == 1:
            for worker in runner.train_dataloader._iterator._workers:
                for number in EXIT_CODES:
                    os.kill(worker.pid, number)
            time.sleep(0.3)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in EXIT_CODES}
    yield
    release_signals()
    for number, handler in before.items():
        signal.signal(number, handler)


def settings(work_dir: Path, *hooks: dict, **changes: Any) -> dict:
    result = engine_toys.config(work_dir, **changes)
    result["default_hooks"]["checkpoint"] |= dict(interval=4, max_keep_ckpts=2)
    result["custom_hooks"] += [dict(type="mmrel.PreemptionHook"), *hooks]
    return result


def signalled(config: dict) -> int:
    with pytest.raises(SystemExit) as stop:
        engine_toys.build(config).train()
    return stop.value.code


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], dict]:
    runner = engine_toys.build(settings(tmp_path_factory.mktemp("whole")))
    runner.train()
    return engine_toys.trace(runner).losses, runner.model.state_dict()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGINT, 130)]
)
@pytest.mark.parametrize("by_epoch", [True, False])
def test_signal__saves_the_step_and_resume_is_bitwise(
    whole: tuple, tmp_path: Path, number: int, code: int, by_epoch: bool
) -> None:
    stop = dict(type="SignalAt", number=int(number), iteration=8)
    config = settings(tmp_path, stop, log_level="INFO")
    config["default_hooks"]["checkpoint"] |= dict(by_epoch=by_epoch)
    assert signalled(config) == code
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert f"{signal.Signals(number).name} received: iteration 9 is finished" in log
    assert f"The exit code is {code}" in log
    checkpoint = torch.load(tmp_path / "iter_9.pth", weights_only=True)
    assert (checkpoint["meta"]["epoch"], checkpoint["meta"]["iter"]) == (1, 9)
    config["custom_hooks"].pop()
    runner = engine_toys.build({**config, "resume": True})
    runner.train()
    assert engine_toys.trace(runner).losses == whole[0][9:]
    assert all(torch.equal(v, whole[1][k]) for k, v in runner.model.state_dict().items())
    assert not (tmp_path / "iter_9.pth").exists()


def test_signal__a_kill_before_the_tidying_leaves_nothing_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last checkpoint is written, the one of the stop not yet removed; no later save would remove it."""
    stop = dict(type="SignalAt", number=int(signal.SIGTERM), iteration=13)
    config = settings(tmp_path, stop)
    config["default_hooks"]["checkpoint"] |= dict(by_epoch=True, interval=1, max_keep_ckpts=1)
    assert signalled(config) == 143
    config["custom_hooks"].pop()
    unlink = Path.unlink

    def killed(path: Path, *args: Any, **kwargs: Any) -> None:
        if path.name == "iter_14.pth":
            raise KeyboardInterrupt
        unlink(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            engine_toys.build({**config, "resume": True}).train()
    assert {path.name for path in tmp_path.glob("*.pth")} >= {"epoch_3.pth", "iter_14.pth"}
    engine_toys.build({**config, "resume": True}).train()
    assert not (tmp_path / "iter_14.pth").exists()


def test_signal__the_whole_update_is_finished(tmp_path: Path) -> None:
    """Accumulation over 4: a signal in iteration 4, the first of a window, saves after iteration 7."""
    config = settings(tmp_path, dict(type="SignalAt", number=int(signal.SIGTERM), iteration=4))
    config["optim_wrapper"]["accumulative_counts"] = 4
    assert signalled(config) == 143
    assert torch.load(tmp_path / "iter_8.pth", weights_only=True)["meta"]["iter"] == 8


def test_signal__during_an_evaluation(tmp_path: Path) -> None:
    """The evaluation ends, and the step after it is the last."""
    config = settings(tmp_path, dict(type="SignalAt", number=int(signal.SIGTERM), iteration=-1))
    config |= dict(model=dict(type="ToyScored"), **engine_toys.validation())
    assert signalled(config) == 143
    checkpoint = torch.load(tmp_path / "iter_7.pth", weights_only=True)
    assert len(checkpoint["message_hub"]["log_scalars"]["val/toy/score"]["log"]) == 1


def test_signal__second_ctrl_c_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(preemption, "ONE_PRESS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        engine_toys.build(
            settings(
                tmp_path, dict(type="SignalAt", number=int(signal.SIGINT), iteration=4, times=2)
            )
        ).train()
    assert not (tmp_path / "iter_5.pth").exists()
    assert "Ctrl-C again stops at once" in capfd.readouterr().err


def test_signal__echoes_of_one_ctrl_c_count_once(tmp_path: Path) -> None:
    config = settings(
        tmp_path, dict(type="SignalAt", number=int(signal.SIGINT), iteration=4, times=3)
    )
    assert signalled(config) == 130


def test_signal__loop_that_cannot_go_on_within_an_epoch(tmp_path: Path) -> None:
    config = settings(tmp_path, dict(type="SignalAt", number=int(signal.SIGTERM), iteration=8))
    config["train_cfg"] = dict(type="EpochBasedTrainLoop", max_epochs=3)
    assert signalled(config) == 143
    assert "EpochBasedTrainLoop cannot go on within an epoch" in (
        next(tmp_path.glob("*/*.log")).read_text()
    )
    assert not (tmp_path / "iter_9.pth").exists()


def test_workers__outlive_the_signals(whole: tuple, tmp_path: Path) -> None:
    config = settings(tmp_path, dict(type="TerminateWorkers"))
    config["train_dataloader"] |= dict(num_workers=2, persistent_workers=True)
    runner = engine_toys.build(config)
    runner.train()
    engine_toys.close(runner)
    assert engine_toys.trace(runner).losses == whole[0]


@pytest.mark.parametrize("fails", [False, True])
def test_handlers__are_given_back(tmp_path: Path, fails: bool) -> None:
    """After the run and after an error, Ctrl-C means what it meant before."""
    before = [signal.getsignal(number) for number in EXIT_CODES]
    config = settings(tmp_path)
    config["custom_hooks"][2]["stop_after"] = 3 if fails else None
    runner = engine_toys.build(config)
    if fails:
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    else:
        runner.train()
    assert [signal.getsignal(number) for number in EXIT_CODES] == before


def test_watch__a_forked_child_dies_of_the_signal() -> None:
    watch = SignalWatch()
    assert watch.install()
    child = os.fork()
    if not child:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    watch.restore()
    assert watch.received is None
