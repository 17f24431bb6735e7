"""When the early teacher of Gram anchoring begins to take part, and when it is renewed.

DINOv3 (arXiv 2508.10104, section 4.2) begins after a million iterations, in which dense features have got worse, and
takes the teacher of an earlier checkpoint; from then on it renews it every 10,000 iterations, three times in its public
configuration. Going on from released weights, the early teacher is those weights from the first step on.
"""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrel.registry import HOOKS
from mmrel.utils.device import unwrap_model

BEGAN = "early_teacher_began"
"""Iteration at which anchoring began, where it did not from the start; saved in checkpoints."""


@HOOKS.register_module()
class EarlyTeacherHook(Hook):
    """Takes snapshots of the teacher for a model with an early teacher, such as ``mmrel.GramAnchoring``.

    All follows from the number of the iteration and from what is in the checkpoints, so that a resume is exact.

    Args:
        interval: iterations between two snapshots, counted from ``begin``; 0: the first one stays.
        begin: the first iteration that is anchored. Above 0, a snapshot is taken there, and before it the early
            teacher costs no time. At 0 it is what the run began with.
        max_renewals: at most so many snapshots after the first; ``None``: no limit.
    """

    priority = "NORMAL"
    """After the teacher's update, before the checkpoint of the same iteration."""

    def __init__(self, interval: int = 0, begin: int = 0, max_renewals: int | None = None) -> None:
        given = dict(interval=interval, begin=begin, max_renewals=max_renewals or 0)
        if wrong := [f"{name} is {value}" for name, value in given.items() if value < 0]:
            raise ValueError(f"{', '.join(wrong)}; they count iterations and snapshots, 0 or more.")
        self.interval = interval
        self.begin = begin
        self.max_renewals = max_renewals

    def before_train(self, runner: Runner) -> None:
        """Refuse a model without an early teacher; say so if it would be one of random weights.

        Raises:
            TypeError: there is none.
        """
        model = unwrap_model(runner)
        if getattr(model, "early_teacher", None) is None:
            raise TypeError(
                f"EarlyTeacherHook needs a model with an early teacher, but {type(model).__name__} has none; put "
                "mmrel.GramAnchoring around it, or remove the hook."
            )
        if self.begin >= runner.max_iters:
            runner.logger.warning(
                f"EarlyTeacherHook.begin is {self.begin} and the run has {runner.max_iters} iterations, so nothing is "
                "anchored. Lower begin, or leave mmrel.GramAnchoring out."
            )
        random = runner.iter == 0 and self.begin == 0 and not _knows_something(runner, model)
        if random:
            runner.logger.warning(
                "The early teacher is the random start of this run, and anchoring to it hinders learning. Go on from "
                "weights (load_from), or set EarlyTeacherHook.begin to an iteration at which the features are good."
            )
        model.uses_early_teacher = self.begin == 0 or bool(runner.message_hub.get_info(BEGAN, 0))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Begin."""
        model = unwrap_model(runner)
        if not model.uses_early_teacher and runner.iter >= self.begin:
            model.renew_early_teacher()
            model.uses_early_teacher = True
            runner.message_hub.update_info(BEGAN, runner.iter)
            runner.logger.info(f"Gram anchoring begins at iteration {runner.iter}.")

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Renew."""
        done = runner.iter + 1 - self.begin
        if not self.interval or done <= 0 or done % self.interval:
            return
        if self.max_renewals is None or done // self.interval <= self.max_renewals:
            unwrap_model(runner).renew_early_teacher()
            runner.logger.info(f"The early teacher was renewed after iteration {runner.iter + 1}.")


def _knows_something(runner: Runner, model: Any) -> bool:
    """Whether the run begins with weights of an earlier one."""
    own = getattr(model.backbone, "init_cfg", None) or {}
    entries = own if isinstance(own, list | tuple) else [own]
    pretrained = any(isinstance(e, dict) and e.get("checkpoint") for e in entries)
    return bool(runner._load_from) or runner._resume or pretrained
