"""RelViT's learning rate per iteration (public code of arXiv 2206.00481), with its jump at the end of the warm-up.

Its first value is 0, on which the recursive schedulers of MMEngine would stay.
"""

from typing import Any

from mmengine.optim import BaseOptimWrapper

from mmrel.engine.schedulers.closed_form import ClosedFormSchedule
from mmrel.ops.schedules import quarter_cosine_schedule
from mmrel.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class QuarterCosineSchedule(ClosedFormSchedule):
    """Value at step i: ``mmrel.ops.schedules.quarter_cosine_schedule(i, end, initial, end_value, warmup_ratio)``.

    Every value follows from the step alone, hence a resumed run continues exactly. Add
    ``convert_to_iter_based=True`` to step per iteration.

    Args:
        optimizer: optimizer wrapper.
        param_name: name of a number in the parameter groups.
        end_value: what the cosine approaches, 0 or more.
        warmup_ratio: share of the steps that the warm-up takes.
        end: length of the schedule in steps; MMEngine fills in the length of the run.
        by_epoch: whether ``step`` is called per epoch.
        last_step: as in MMEngine.
        verbose: as in MMEngine.
    """

    def __init__(
        self,
        optimizer: BaseOptimWrapper,
        param_name: str = "lr",
        end_value: float = 1.25e-6,
        warmup_ratio: float = 0.1,
        end: int | None = None,
        by_epoch: bool = True,
        last_step: int = -1,
        verbose: bool = False,
    ) -> None:
        if end is None or end_value < 0 or not 0 <= warmup_ratio <= 1:
            raise ValueError(
                f"end is {end}, end_value {end_value} and warmup_ratio {warmup_ratio}; outside a runner give "
                "end, the number of steps; end_value must be 0 or more and warmup_ratio in [0, 1]"
            )
        self.end_value = end_value
        self.warmup_ratio = warmup_ratio
        super().__init__(
            optimizer, param_name, end=end, last_step=last_step, by_epoch=by_epoch, verbose=verbose
        )

    @classmethod
    def build_iter_from_epoch(
        cls, *, epoch_length: int, end: int, by_epoch: bool = True, **kwargs: Any
    ) -> "QuarterCosineSchedule":
        """The same schedule with ``end`` turned from epochs into iterations."""
        cls.check_conversion(by_epoch, epoch_length)
        return cls(end=end * epoch_length, by_epoch=False, **kwargs)

    def _get_value(self) -> list[float]:
        return [
            quarter_cosine_schedule(
                self.last_step, self.end, base, self.end_value, self.warmup_ratio
            )
            for base in self.base_values
        ]
