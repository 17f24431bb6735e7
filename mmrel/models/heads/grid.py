"""What the heads share that read one grid of patch tokens and need nothing else."""

import inspect
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmrel.models.contracts import (
    GridBackbone,
    LossHead,
    PartOrConfig,
    build_parts,
)
from mmrel.models.heads.base import Head
from mmrel.ops.position import check_grid_side
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch


class GridHead(Head):
    """A head on the patch tokens of images, in the order of the grid. Subclasses define ``losses``.

    Args:
        side: patches per row and column, at least 2.
        neck: name of the neck that gives the patches.
        loss_weight: factor of the loss in the total, applied by the algorithm.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        side: int,
        neck: str = "patches",
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(neck, loss_weight, init_cfg)
        check_grid_side(side)
        self.side = side

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


def build_grid_heads(
    heads: Mapping[str, PartOrConfig | None], backbone: GridBackbone
) -> dict[str, LossHead]:
    """Heads by their names, for the tokens of a backbone.

    Args:
        heads: modules, or configs in which ``side`` and ``in_channels`` may be left out; ``None`` switches one off.
        backbone: tells its grid and its width.

    Raises:
        ValueError: none is left, ``in_channels`` is not the backbone's width, or its grid is not square.
    """
    used = {name: head for name, head in heads.items() if head is not None}
    if not used:
        raise ValueError(
            f"all of RelViT's heads are None ({', '.join(heads) or 'none was given'}), so there is nothing to "
            "learn; give a relation and a position head, as the recipes do"
        )
    fitted = {
        name: fit_to_backbone(name, dict(head), backbone) if isinstance(head, Mapping) else head
        for name, head in used.items()
    }
    return build_parts(fitted, LossHead)


def fit_to_backbone(name: str, head: dict[str, Any], backbone: GridBackbone) -> dict[str, Any]:
    """A head's config with the ``side`` and ``in_channels`` that follow from the backbone, where its class has them.

    A ``side`` that is given stays: crops of another size than the backbone was built for, or mega-patches, have another
    grid. The head compares it with every batch.
    """
    kind = MODELS.get(head["type"]) if isinstance(head["type"], str) else head["type"]
    known = inspect.signature(kind).parameters
    width = backbone.token_channels
    if "in_channels" in known and head.setdefault("in_channels", width) != width:
        raise ValueError(
            f"head {name!r} has in_channels={head['in_channels']}, but the tokens of {type(backbone).__name__} are "
            f"{width} wide; leave in_channels out, it follows from the backbone"
        )
    if "side" in known and "side" not in head:
        rows, cols = backbone.token_grid
        if rows != cols:
            raise ValueError(
                f"{type(backbone).__name__} gives {rows} x {cols} patches, but head {name!r} reads a square grid; "
                "give the backbone a square img_size, or the head the side of your crops' grid"
            )
        head["side"] = rows
    return head
