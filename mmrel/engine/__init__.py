"""The training engine: hooks, loops, optimizer and model wrappers and schedules for MMEngine's runner."""

from mmrel.engine import fully_sharded, hooks, loops, optimizers, schedulers

__all__ = ["fully_sharded", "hooks", "loops", "optimizers", "schedulers"]
