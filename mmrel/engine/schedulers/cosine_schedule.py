"""The per-iteration cosine of DINO, iBOT and SERE, for learning rate and weight decay.

From DINO's public code (arXiv 2104.14294): a linear warm-up that includes the peak, then half a cosine
whose end value is never quite reached. MMEngine's ``LinearLR`` and ``CosineAnnealingLR`` are recursive and
end elsewhere; this one computes every value from the iteration alone, hence resumes exactly.
"""

from typing import Any

from mmengine.logging import print_log
from mmengine.optim import BaseOptimWrapper

from mmrel.engine.schedulers.closed_form import (
    POSITION,
    ClosedFormSchedule,
    announce_long_warmup,
)
from mmrel.ops.schedules import cosine_schedule
from mmrel.registry import PARAM_SCHEDULERS

CURVE = ("param_name", "start_value", "end_value", "total", "warmup", "warmup_start", "by_epoch")


@PARAM_SCHEDULERS.register_module()
class CosineSchedule(ClosedFormSchedule):
    """Value at step i: ``mmrel.ops.schedules.cosine_schedule(i, total, start, end, warmup, ...)``.

    Give ``total`` and ``warmup`` in epochs and add ``convert_to_iter_based=True`` to step per iteration.
    Groups whose weight decay is 0 keep it. From ``total`` on, the last value stays.

    Args:
        optimizer: optimizer wrapper.
        param_name: ``"lr"`` or ``"weight_decay"`` (any number in the parameter groups will do).
        end: the value at the end of the schedule, such as 1e-6 (not a step).
        start: the value at the start of the cosine, the peak; ``None``: each group's own initial value,
            so that ``--auto-scale-lr`` works.
        total: length of the schedule; ``None``: the whole run.
        warmup: length of the warm-up.
        warmup_start: the value at step 0 if there is a warm-up.
        by_epoch: whether ``step`` is called per epoch.
        last_step: as in MMEngine.
        verbose: as in MMEngine.
    """

    def __init__(
        self,
        optimizer: BaseOptimWrapper,
        param_name: str,
        end: float,
        start: float | None = None,
        total: int | None = None,
        warmup: int = 0,
        warmup_start: float = 0.0,
        by_epoch: bool = True,
        last_step: int = -1,
        verbose: bool = False,
    ) -> None:
        if not 0 <= end < 1:
            raise ValueError(
                f"end is the value of {param_name} at the end of the schedule, in [0, 1), but is {end}; "
                "if the configuration leaves it out, MMEngine fills in the number of epochs: write, for "
                "instance, end=1e-6."
            )
        if warmup < 0 or (total is not None and total <= 0):
            raise ValueError(
                f"warmup must be at least 0 and total above 0, but they are {warmup} and {total}; "
                "correct param_scheduler in the configuration."
            )
        self.start_value = start
        self.end_value = float(end)
        self.total = total
        self.warmup = warmup
        self.warmup_start = float(warmup_start)
        if total is not None:
            announce_long_warmup(param_name, warmup, total)
        super().__init__(
            optimizer, param_name, last_step=last_step, by_epoch=by_epoch, verbose=verbose
        )

    @classmethod
    def build_iter_from_epoch(
        cls,
        *,
        epoch_length: int,
        total: float | None = None,
        warmup: float = 0,
        by_epoch: bool = True,
        **kwargs: Any,
    ) -> "CosineSchedule":
        """The same schedule with ``total`` and ``warmup`` turned from epochs into iterations."""
        cls.check_conversion(by_epoch, epoch_length)
        steps = None if total is None else round(total * epoch_length)
        return cls(total=steps, warmup=round(warmup * epoch_length), by_epoch=False, **kwargs)

    def _get_value(self) -> list[float]:
        current = [group[self.param_name] for group in self.optimizer.param_groups]
        total = self._resolve_total()
        if self.last_step >= total:
            return current
        return [self._value(base, total) for base in self.base_values]

    def _value(self, base: float, total: int) -> float:
        if self.param_name == "weight_decay" and base == 0:
            return 0.0
        return cosine_schedule(
            self.last_step,
            total,
            base if self.start_value is None else self.start_value,
            self.end_value,
            warmup_steps=min(self.warmup, total - 1),
            warmup_start=self.warmup_start,
        )

    def _resolve_total(self) -> int:
        """The length in steps; the value at step 0 does not depend on it and may be asked before."""
        if self.total is None:
            known = getattr(self.optimizer, "max_iters", None)
            if known is None and self.last_step == 0:
                return self.warmup + 2
            if known is None or self.by_epoch:
                raise ValueError(
                    "total=None, the whole run, needs mmrel.SelfSupOptimWrapper and "
                    f"convert_to_iter_based=True, but the optimizer is {type(self.optimizer).__name__} "
                    f"and by_epoch is {self.by_epoch}; give total in epochs."
                )
            self.total = known
            announce_long_warmup(self.param_name, self.warmup, known)
        return self.total

    def state_dict(self) -> dict[str, Any]:
        """The position, and the curve for comparison."""
        return {key: getattr(self, key) for key in (*POSITION, *CURVE)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the position; the curve stays the configuration's, with a notice if it differs."""
        super().load_state_dict(state_dict)
        changed = {
            key: (state_dict[key], getattr(self, key))
            for key in CURVE
            if getattr(self, key) is not None and state_dict[key] != getattr(self, key)
        }
        if not changed:
            return
        text = ", ".join(f"{key} from {old} to {new}" for key, (old, new) in changed.items())
        print_log(f"The schedule of {self.param_name} changes with this resume: {text}.", "current")
        if self.total is not None:
            for group, value in zip(self.optimizer.param_groups, self._get_value(), strict=True):
                group[self.param_name] = value
