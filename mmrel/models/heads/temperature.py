"""The teacher temperature, which rises per epoch and then stays (DINO, arXiv 2104.14294, section 4)."""

from mmrel.ops.schedules import warmup_constant_schedule


class TemperatureSchedule:
    """A temperature that is linear over the first epochs and constant afterwards.

    Args:
        start: temperature of epoch 0.
        end: temperature from epoch ``delay + warmup_epochs - 1`` on.
        warmup_epochs: epochs of the rise, both ends included.
        delay: epochs at ``start`` before the rise begins.
    """

    def __init__(self, start: float, end: float, warmup_epochs: int = 0, delay: int = 0) -> None:
        if start <= 0 or end <= 0:
            raise ValueError(
                f"teacher temperatures are start={start}, end={end}; both must be greater than 0 "
                "(0.04 to 0.07 is usual)"
            )
        self.start, self.end = start, end
        self.warmup_epochs, self.delay = warmup_epochs, delay
        self.set_epoch(0)

    @classmethod
    def build(cls, config: float | dict) -> "TemperatureSchedule":
        """A schedule from a number (constant) or from a dict of the arguments."""
        if isinstance(config, dict):
            return cls(**config)
        return cls(config, config)

    def set_epoch(self, epoch: int) -> None:
        """Set ``value`` to the temperature of this epoch (counted from 0)."""
        self.value = warmup_constant_schedule(
            epoch, self.start, self.end, self.warmup_epochs, self.delay
        )
