"""Parameter schedulers."""

from mmrel.engine.schedulers.cosine_schedule import CosineSchedule

__all__ = ["CosineSchedule"]
