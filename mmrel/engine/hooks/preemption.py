"""Ending a run well when it is asked to: finish the step, save, and say so in the exit code."""

from typing import Any

from mmengine.dist import barrier, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmrel.engine.checkpointing.ranks import highest_of_all, true_on_all
from mmrel.engine.hooks.atomic_checkpoint import AtomicCheckpointHook
from mmrel.engine.loops.resumable_epoch_loop import ResumableEpochLoop
from mmrel.engine.optimizers.selfsup_optim_wrapper import SelfSupOptimWrapper
from mmrel.engine.preemption import (
    EXIT_CODES,
    SignalWatch,
    keep_signals,
    release_signals,
    watch_signals,
)
from mmrel.registry import HOOKS
from mmrel.utils.worker_signals import shield_workers


@HOOKS.register_module()
class PreemptionHook(Hook):
    """On SIGTERM, SIGUSR1 or Ctrl-C: finish the step, save, and exit with 143, 138 or 130.

    ``--resume`` continues with the next step. With gradient accumulation the whole update is finished, during an
    evaluation or a save that one first. All processes leave after the same step: their wish is part of the finite
    check's all-reduce (``mmrel.SelfSupOptimWrapper``), elsewhere it costs one of its own.
    A second Ctrl-C stops at once.
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        self._watch: SignalWatch | None = None

    def before_loop(self, runner: Runner) -> None:
        """Begin to watch before all other hooks (``mmrel.ResumableEpochLoop`` calls this)."""
        self._begin(runner)

    def before_train(self, runner: Runner) -> None:
        """Begin to watch in loops that do not call ``before_loop``."""
        if not isinstance(runner.train_loop, ResumableEpochLoop):
            self._begin(runner)

    def _begin(self, runner: Runner) -> None:
        """Watch the signals, and keep them from the workers of all loaders."""
        loops = [runner.train_loop, runner.val_loop]
        for loop in loops:
            if loop is not None:
                shield_workers(loop.dataloader)
        self._watch = watch_signals()
        if self._watch is None:
            runner.logger.warning(
                "Training runs outside the main thread, where signals cannot be watched: on SIGTERM, SIGUSR1 or Ctrl-C "
                "it ends without saving."
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Let the finite check carry the wish to stop."""
        if isinstance(runner.optim_wrapper, SelfSupOptimWrapper):
            runner.optim_wrapper.guard.stop_wanted = self._wanted

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Leave, if any process was asked to and no update is half done."""
        if self._is_agreed(runner) and _update_is_whole(runner.optim_wrapper):
            self._leave(runner)

    def after_train(self, runner: Runner) -> None:
        """The run is over: signals mean again what they meant before."""
        release_signals()

    @property
    def _wanted(self) -> bool:
        return self._watch is not None and self._watch.received is not None

    def _is_agreed(self, runner: Runner) -> bool:
        if get_world_size() == 1:
            return self._wanted
        if isinstance(runner.optim_wrapper, SelfSupOptimWrapper):
            return runner.optim_wrapper.guard.stop_agreed
        return not true_on_all(not self._wanted)

    def _leave(self, runner: Runner) -> None:
        own = EXIT_CODES[self._watch.received] if self._watch and self._watch.received else 0
        code = highest_of_all(own)
        name = next(number.name for number, value in EXIT_CODES.items() if value == code)
        saved = self._save(runner)
        barrier()
        runner.logger.warning(
            f"{name} received: iteration {runner.iter + 1} is finished. {saved} The exit code is {code}."
        )
        keep_signals()
        raise SystemExit(code)

    def _save(self, runner: Runner) -> str:
        """Save if the loop can go on from here; returns what to tell."""
        hook = next((h for h in runner.hooks if isinstance(h, AtomicCheckpointHook)), None)
        if hook is None:
            return "Nothing was saved, because the run has no mmrel.AtomicCheckpointHook."
        if not isinstance(runner.train_loop, ResumableEpochLoop | IterBasedTrainLoop):
            return (
                f"Nothing was saved, because {type(runner.train_loop).__name__} cannot go on within an epoch; --resume "
                "continues from the latest checkpoint."
            )
        return f"It is saved in {hook.save_now(runner)}; continue with --resume."


def _update_is_whole(optim_wrapper: Any) -> bool:
    """Whether no gradients of an accumulation wait for their step; a dict of wrappers does not tell."""
    return not hasattr(optim_wrapper, "should_update") or optim_wrapper.should_update()
