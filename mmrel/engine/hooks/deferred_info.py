"""MMEngine's ``RuntimeInfoHook`` without its wait for the device in every step."""

from typing import Any

from mmengine.hooks import RuntimeInfoHook
from mmengine.runner import Runner
from torch import Tensor

from mmrel.engine.deferred_scalars import defer_scalar, flush_scalars
from mmrel.registry import HOOKS


@HOOKS.register_module()
class DeferredRuntimeInfoHook(RuntimeInfoHook):
    """Keeps a step's losses and statistics on the device until they are read.

    The values are those of the stock hook. It also logs ``train/weight_decay``, that of the first group.

    Args:
        interval: transfer what waits every so many iterations; by default the reader's interval decides.
    """

    def __init__(self, interval: int | None = None) -> None:
        if interval is not None and interval < 1:
            raise ValueError(
                f"interval must be 1 iteration or more, but is {interval}; leave it out to transfer "
                "whenever the logger reads."
            )
        self.interval = interval

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Iteration, learning rate and weight decay."""
        super().before_train_iter(runner, batch_idx, data_batch)
        decay = runner.optim_wrapper.param_groups[0].get("weight_decay")
        if decay is not None:
            runner.message_hub.update_scalar("train/weight_decay", decay)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Record the model's outputs."""
        for name, value in (outputs or {}).items():
            if isinstance(value, Tensor):
                defer_scalar(runner.message_hub, f"train/{name}", value)
            else:
                runner.message_hub.update_scalar(f"train/{name}", value)
        if self.interval and self.every_n_train_iters(runner, self.interval):
            flush_scalars()
