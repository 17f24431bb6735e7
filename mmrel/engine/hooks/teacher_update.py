"""After every successful step, the teacher follows the student.

DINO, section 3.1 (arXiv 2104.14294): ``teacher = m * teacher + (1 - m) * student`` with m on a cosine from
0.996 to 1 over all iterations. Different from MMEngine's ``EMAHook``: the teacher is a module of the model,
saved with it; it moves after the step, not before; and a skipped step (fp16 overflow) moves nothing.
"""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrel.engine.loops.resumable_epoch_loop import require_epochs
from mmrel.engine.optimizers.selfsup_optim_wrapper import SelfSupOptimWrapper
from mmrel.models.heads.temperature import TemperatureSchedule
from mmrel.models.selfsup.student_teacher import MAX_UNCOMMITTED
from mmrel.ops.schedules import cosine_schedule
from mmrel.registry import HOOKS
from mmrel.utils.device import unwrap_model


@HOOKS.register_module()
class TeacherUpdateHook(Hook):
    """Calls ``model.set_epoch`` before each epoch and ``model.commit`` after each step.

    Args:
        momentum: share of the old teacher at the first iteration, in [0, 1].
        end_momentum: the same at the end of the run.
        frozen_momentum: the same while ``mmrel.FreezeBackboneHook`` lets the backbone rest, when necks alone move:
            fresh ones should be followed faster than a backbone that is to be kept. ``None``: as at any other time.
    """

    priority = "ABOVE_NORMAL"

    def __init__(
        self,
        momentum: float = 0.996,
        end_momentum: float = 1.0,
        frozen_momentum: float | None = None,
    ) -> None:
        given = dict(momentum=momentum, end_momentum=end_momentum, frozen_momentum=frozen_momentum)
        for name, value in given.items():
            if value is not None and not 0 <= value <= 1:
                raise ValueError(
                    f"{name} is the share of the old teacher and must be in [0, 1], but is {value}; "
                    "note that MMEngine's averaged models use 1 - momentum."
                )
        self.momentum = momentum
        self.end_momentum = end_momentum
        self.frozen_momentum = frozen_momentum

    def before_train(self, runner: Runner) -> None:
        """Check that model and optimizer wrapper fit."""
        model = unwrap_model(runner)
        missing = [name for name in ("commit", "set_epoch") if not hasattr(model, name)]
        if missing:
            raise TypeError(
                f"TeacherUpdateHook needs a student-teacher model such as mmrel.DINO, mmrel.IBOT or "
                f"mmrel.SERE, but {type(model).__name__} has no {' and no '.join(missing)}; remove the "
                "hook, or subclass mmrel.StudentTeacher."
            )
        if not isinstance(runner.optim_wrapper, SelfSupOptimWrapper):
            raise TypeError(
                "TeacherUpdateHook must know whether a step succeeded and needs "
                "optim_wrapper.type='mmrel.SelfSupOptimWrapper', but it is "
                f"{type(runner.optim_wrapper).__name__}; set precision='fp16' or 'bf16' there in "
                "place of AmpOptimWrapper."
            )
        require_epochs(runner, "the teacher temperature")
        model.max_uncommitted = MAX_UNCOMMITTED * runner.optim_wrapper._accumulative_counts
        self._announce_long_warmup(runner)

    @staticmethod
    def _announce_long_warmup(runner: Runner) -> None:
        schedules = [
            (name, module.teacher_temperature)
            for name, module in unwrap_model(runner).named_modules()
            if isinstance(getattr(module, "teacher_temperature", None), TemperatureSchedule)
        ]
        for name, schedule in schedules:
            rise = schedule.delay + schedule.warmup_epochs
            if schedule.start != schedule.end and rise > runner.max_epochs:
                runner.logger.warning(
                    f"The teacher temperature of {name} rises over {rise} epochs to {schedule.end} and the run has "
                    f"{runner.max_epochs}, so it never gets there. Train longer, or lower "
                    "teacher_temperature.warmup_epochs."
                )

    def before_train_epoch(self, runner: Runner) -> None:
        """Tell the model the epoch (teacher temperatures)."""
        unwrap_model(runner).set_epoch(runner.epoch)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Commit the step: teacher and centres, unless the device skipped it."""
        if not runner.optim_wrapper.stepped:
            return
        model = unwrap_model(runner)
        momentum = cosine_schedule(runner.iter, runner.max_iters, self.momentum, self.end_momentum)
        if self.frozen_momentum is not None and getattr(model, "backbone_frozen", False):
            momentum = self.frozen_momentum
        model.commit(momentum, ok=runner.optim_wrapper.step_ok)
        runner.message_hub.update_scalar("train/teacher_momentum", momentum)

    def after_train(self, runner: Runner) -> None:
        """The last iteration's finite check, which no next iteration makes."""
        runner.optim_wrapper.check_finite(wait=True)
