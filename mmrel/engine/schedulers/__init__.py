"""Parameter schedulers."""

from mmrel.engine.schedulers.cosine_schedule import CosineSchedule
from mmrel.engine.schedulers.quarter_cosine_schedule import QuarterCosineSchedule

__all__ = ["CosineSchedule", "QuarterCosineSchedule"]
