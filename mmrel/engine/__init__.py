"""The training engine: hooks, loops, optimizer wrappers and schedules for MMEngine's runner."""

from mmrel.engine import hooks, loops, optimizers, schedulers

__all__ = ["hooks", "loops", "optimizers", "schedulers"]
