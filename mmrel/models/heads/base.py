"""What every head is: a reader of one neck, with losses of known names and a weight."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from mmengine.model import BaseModule
from torch import Tensor

from mmrel.models.contracts import LossHead
from mmrel.structures import ViewBatch


class Head(BaseModule):
    """Base of the heads; it fulfils :class:`mmrel.models.contracts.LossHead`.

    Attributes:
        needs: what the head needs beside the neck's outputs, of :data:`mmrel.models.contracts.KNOWN_NEEDS`.
        terms: names of its losses; they contain "loss", and no other key of its results does.

    Args:
        neck: name of the neck whose outputs this head reads.
        loss_weight: factor of the losses in the total, applied by the algorithm.
        init_cfg: MMEngine's initialisation config.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    terms: tuple[str, ...]

    def __init__(self, neck: str, loss_weight: float = 1.0, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.neck = neck
        self.loss_weight = loss_weight

    @abstractmethod
    def forward(self, student: Any, teacher: Any, views: ViewBatch) -> dict[str, Tensor]:
        """Losses, not yet weighted, and statistics of one batch."""


def of_uniform(loss: Tensor, uniform: float) -> Tensor:
    """A cross-entropy as a share of what it is where the student calls every answer equally likely; for the log.

    1 means that nothing is learnt of the relation. 0 is not reached where the teacher's distributions have an entropy.

    Args:
        loss: scalar, not yet weighted.
        uniform: its value for a uniform student, ln of the number of answers.

    Returns:
        Scalar without gradient.
    """
    return loss.detach() / uniform


def weighted(head: LossHead, results: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A head's results with its weight on the losses; statistics stay as they are."""
    return {
        key: value * head.loss_weight if "loss" in key else value for key, value in results.items()
    }
