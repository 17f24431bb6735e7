"""The runs that the kill campaign interrupts, each in a forked child that tells its parent where it is."""

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_toys
import test_resume_pipeline
import torch
from mmengine.config import config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from yapf.yapflib import yapf_api

from mmrel.engine.hooks import AtomicCheckpointHook, KNNHook

STARTING, STEP, SAVE, BEST, EVALUATION, ENDED = range(6)
PHASES = ("starting", "step", "save", "save best", "evaluation", "after the last step")


class Board:
    """A page that parent and child share: where the child is, and when it shall kill itself."""

    FIELDS = ("phase", "running", "done", "saved", "best", "fuse", "signalled")

    def __init__(self) -> None:
        self._page = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")

    def __getattr__(self, name: str) -> int:
        return self._page[self.FIELDS.index(name)]

    def __setattr__(self, name: str, value: int) -> None:
        if name in self.FIELDS:
            self._page[self.FIELDS.index(name)] = value
        else:
            super().__setattr__(name, value)

    def clear(self) -> None:
        for name in self.FIELDS:
            setattr(self, name, 0)


BOARD = Board()


@HOOKS.register_module()
class Reporter(Hook):
    """Writes each loss to ``losses.txt`` and each step to the board."""

    priority = "NORMAL"

    def before_train(self, runner: Any) -> None:
        BOARD.running = BOARD.done = runner.iter
        BOARD.phase = STEP

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        BOARD.running = runner.iter + 1

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        line = f"{runner.iter} {float(outputs['loss'].detach()).hex()}\n"
        with (Path(runner.work_dir) / "losses.txt").open("a") as file:
            file.write(line)
        BOARD.done = runner.iter + 1

    def after_train(self, runner: Any) -> None:
        """From here on there is no step left to finish, and signals soon mean what they always mean."""
        BOARD.phase = ENDED

    def before_val(self, runner: Any) -> None:
        BOARD.phase = EVALUATION

    def after_val(self, runner: Any) -> None:
        BOARD.phase = STEP


def toy(folder: Path, images: Path) -> dict[str, Any]:
    """18 steps; a checkpoint every 2, two are kept; a validation after each of 3 epochs; the best is kept."""
    settings = engine_toys.config(folder, model=dict(type="ToyScored", seconds=0.004))
    settings["default_hooks"]["checkpoint"] |= dict(
        interval=2, max_keep_ckpts=2, save_best="toy/score", rule="greater"
    )
    return settings | engine_toys.validation()


def toy_by_epoch(folder: Path, images: Path) -> dict[str, Any]:
    """The same with one checkpoint per epoch, of which one is kept, and two loader workers."""
    settings = toy(folder, images)
    settings["default_hooks"]["checkpoint"] |= dict(interval=1, by_epoch=True, max_keep_ckpts=1)
    settings["train_dataloader"] |= dict(num_workers=2, persistent_workers=True)
    settings["train_dataloader"]["sampler"]["type"] = "mmrel.KeyedSampler"
    return settings


def sere(folder: Path, images: Path) -> dict[str, Any]:
    """SERE on iBOT from an image folder, fp16, 3 epochs of 3 steps, k-NN after each and the best one kept."""
    settings = test_resume_pipeline.settings(images, folder, 0)
    settings["train_cfg"]["max_epochs"] = 3
    settings["default_hooks"]["checkpoint"] = dict(
        type="mmrel.AtomicCheckpointHook", max_keep_ckpts=1, interval=1
    ) | dict(save_best="knn/feature_std", rule="greater")
    settings["optim_wrapper"] |= dict(precision="fp16", loss_scale=dict(init_scale=2.0**8))
    return settings


RUNS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "toy": toy,
    "toy_by_epoch": toy_by_epoch,
    "sere": sere,
}


def train(kind: str, folder: Path, images: Path) -> None:
    """Train or go on; ``final.pth`` says that it is complete."""
    _report_phases()
    _light_the_fuse()
    config.FormatCode = yapf_api.FormatCode = lambda text, **options: (
        text,
        True,
    )  # slow, for looks
    settings = RUNS[kind](folder, images)
    settings["custom_hooks"] = [h for h in settings["custom_hooks"] if h["type"] != "LossTrace"]
    settings["custom_hooks"] += [dict(type="Reporter"), dict(type="mmrel.PreemptionHook")]
    runner = engine_toys.build({**settings, "resume": True})
    runner.train()
    hub = runner.message_hub
    outcome = {
        "weights": runner.model.state_dict(),
        "best": hub.get_info("best_score"),
        "best_file": Path(hub.get_info("best_ckpt")).name,
        "curves": {
            name: buffer.data[0].tolist()
            for name, buffer in hub.log_scalars.items()
            if name.startswith(("knn/", "val/")) and "time" not in name
        },
    }
    torch.save(outcome, folder / "final.tmp")
    (folder / "final.tmp").replace(folder / "final.pth")


def _report_phases() -> None:
    write, evaluate = AtomicCheckpointHook._write, KNNHook.evaluate

    def reported_write(self: Any, runner: Any, final: Path, latest: bool, **options: Any) -> None:
        before, BOARD.phase = BOARD.phase, SAVE if latest else BEST
        write(self, runner, final, latest=latest, **options)
        if latest:
            BOARD.saved = options["meta"]["iter"]
        else:
            BOARD.best = 1
        BOARD.phase = before

    def reported_evaluate(self: Any, model: Any) -> Any:
        before, BOARD.phase = BOARD.phase, EVALUATION
        results = evaluate(self, model)
        BOARD.phase = before
        return results

    AtomicCheckpointHook._write, KNNHook.evaluate = reported_write, reported_evaluate


def _light_the_fuse() -> None:
    """Count down at every call that changes the disk for good, and die at zero, before or after it."""
    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (os, "replace")):
        original = getattr(owner, name)

        def counted(*args: Any, original: Any = original, **kwargs: Any) -> Any:
            _burn()
            result = original(*args, **kwargs)
            _burn()
            return result

        setattr(owner, name, counted)


def _burn() -> None:
    if BOARD.fuse:
        BOARD.fuse -= 1
        if not BOARD.fuse:
            BOARD.signalled = 1
            os.kill(os.getpid(), 9)
