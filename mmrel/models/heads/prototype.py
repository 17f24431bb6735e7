"""What the distillation heads over prototypes share: temperatures and the centre."""

from typing import ClassVar

from torch import Tensor

from mmrel.models.heads.base import Head
from mmrel.models.heads.center import RunningCenter
from mmrel.models.heads.temperature import TemperatureSchedule


class PrototypeHead(Head):
    """A head that compares distributions over prototypes.

    Attributes:
        reads: the kind of token whose distributions it compares: ``'class'`` or ``'patch'``.

    Args:
        out_channels: K, the number of prototypes.
        student_temperature: tau_s.
        teacher_temperature: tau_t: a number, or ``dict(start, end, warmup_epochs, delay=0)``.
        center_momentum: momentum of the centre.
        neck: name of the neck whose outputs this head reads.
        loss_weight: factor of the loss in the total.
    """

    reads: ClassVar[str] = "class"

    def __init__(
        self,
        out_channels: int,
        student_temperature: float = 0.1,
        teacher_temperature: float | dict = 0.04,
        center_momentum: float = 0.9,
        neck: str = "projection",
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(neck, loss_weight, init_cfg)
        self.out_channels = out_channels
        if student_temperature <= 0:
            raise ValueError(
                f"student_temperature is {student_temperature}; it must be greater than 0 (0.1 is usual)"
            )
        self.student_temperature = student_temperature
        self.teacher_temperature = TemperatureSchedule.build(teacher_temperature)
        self.center = RunningCenter(out_channels, center_momentum)

    def set_epoch(self, epoch: int) -> None:
        """Set the teacher temperature of this epoch (counted from 0)."""
        self.teacher_temperature.set_epoch(epoch)

    def settle(self) -> None:
        """Put the centre's last micro-batch to the others, before the next forward pass."""
        self.center.settle()

    def commit(self, ok: Tensor) -> None:
        """Move the centre after a successful step (``ok``: 0-dim bool)."""
        self.center.commit(ok)
