"""What the heads share that read one grid of patch tokens and need nothing else."""

from abc import abstractmethod
from typing import ClassVar

from mmengine.model import BaseModule
from torch import Tensor

from mmrel.ops.position import check_grid_side
from mmrel.structures import ViewBatch


class GridHead(BaseModule):
    """A head on the patch tokens of images, in the order of the grid. Subclasses define ``losses``.

    Args:
        side: patches per row and column, at least 2.
        neck: name of the neck that gives the patches.
        loss_weight: factor of the loss in the total, applied by the algorithm.
        init_cfg: MMEngine's initialisation config.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    terms: tuple[str, ...]

    def __init__(
        self,
        side: int,
        neck: str = "patches",
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_grid_side(side)
        self.side = side
        self.neck = neck
        self.loss_weight = loss_weight

    def forward(
        self, student: Tensor, teacher: None = None, views: ViewBatch | None = None
    ) -> dict[str, Tensor]:
        """Losses and statistics of one batch.

        Args:
            student: patch tokens ``(n, N, C)``, N = side * side, row-major.
            teacher: there is none.
            views: not needed.

        Raises:
            ValueError: another number of patches.
        """
        if student.shape[1] != self.side**2:
            raise ValueError(
                f"the backbone gives {student.shape[1]} patches per image, but {type(self).__name__} was "
                f"built for {self.side} x {self.side}; set its side to that of the backbone's grid"
            )
        return self.losses(student)

    @abstractmethod
    def losses(self, patches: Tensor) -> dict[str, Tensor]:
        """Named losses and statistics of ``(n, N, C)``."""
