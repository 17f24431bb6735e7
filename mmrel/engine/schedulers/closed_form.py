"""What schedules share whose every value follows from the step alone."""

import logging
from typing import Any

from mmengine.logging import print_log
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

POSITION = ("last_step", "_global_step", "base_values", "_last_value")


class ClosedFormSchedule(_ParamScheduler):
    """A resumed run takes over the position only; the curve stays the configuration's."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the position."""
        for key in POSITION:
            setattr(self, key, state_dict[key])

    @staticmethod
    def check_conversion(by_epoch: bool, epoch_length: int) -> None:
        """Raise ``ValueError`` unless a schedule in epochs can be turned into one in iterations."""
        if not by_epoch or epoch_length <= 0:
            raise ValueError(
                f"convert_to_iter_based needs by_epoch=True and a positive epoch length, but they are "
                f"{by_epoch} and {epoch_length}; remove convert_to_iter_based for a schedule that is "
                "already in iterations."
            )


def announce_long_warmup(param_name: str, warmup: int, total: int) -> None:
    """Warn if a warm-up of so many steps leaves nothing of a run of ``total`` steps."""
    if warmup >= total:
        print_log(
            f"The warm-up of {param_name} ({warmup} steps) is cut to the run's length ({total} steps): it covers the "
            "whole run, and the decay after it never begins. Train longer, or shorten warmup in param_scheduler.",
            logger="current",
            level=logging.WARNING,
        )
