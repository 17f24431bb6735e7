"""RelViT's pretext heads (Camporese et al., BMVC 2022, arXiv 2206.00481): the grid is the label.

All read the final patch tokens of an image and predict where its patches lie: pair by pair (relation,
distance, angle) or each by itself (position). From the public code: the widths, the scale, and torch's own
initialisation of the linear layers beside a backbone that is initialised otherwise. Different from it: the
value maps of the attention modules, which it builds and never uses, are left out, and the nine heads of the
relation are one linear layer for the queries and one for the keys (of the same distribution).
"""

import math
from typing import Any, ClassVar

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from mmrel.models.heads.base import of_uniform
from mmrel.models.heads.grid import GridHead
from mmrel.ops.patch_pairs import accuracy, pair_scores, position_loss, relation_loss
from mmrel.ops.position import NUM_RELATIONS, patch_angles, patch_distances, patch_relations
from mmrel.ops.precision import upcast
from mmrel.registry import MODELS


class PairScores(BaseModule):
    """Query and key maps without bias, and the scaled products of all pairs.

    Args:
        in_channels: C.
        num_heads: score maps; each is ``floor(C / num_heads)`` wide.
    """

    def __init__(self, in_channels: int, num_heads: int) -> None:
        super().__init__()
        width = in_channels // num_heads
        if width < 1:
            raise ValueError(
                f"tokens of {in_channels} channels cannot be shared out among {num_heads} heads; give at "
                f"least {num_heads} channels"
            )
        self.num_heads = num_heads
        self.query = nn.Linear(in_channels, num_heads * width, bias=False)
        self.key = nn.Linear(in_channels, num_heads * width, bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        """Scores ``(B, heads, N, N)`` of ``(B, N, C)``."""
        return pair_scores(self.query(patches), self.key(patches), self.num_heads)


@MODELS.register_module()
class PatchRelationHead(GridHead):
    """Nine-way classification of each ordered pair (i, j): where does i lie as seen from j?

    Args:
        in_channels: C, width of the tokens.
        side: patches per row and column.
        label_smoothing: see :func:`mmrel.ops.patch_pairs.relation_loss`.
        neck: see :class:`GridHead`.
        loss_weight: see :class:`GridHead`.
    """

    terms = ("loss_rel",)

    def __init__(
        self,
        in_channels: int,
        side: int,
        label_smoothing: float = 0.0,
        neck: str = "patches",
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(side, neck, loss_weight, init_cfg)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is {label_smoothing}; give a share in [0, 1)")
        self.label_smoothing = label_smoothing
        self.scores = PairScores(in_channels, NUM_RELATIONS)
        self.relations: Tensor
        self.register_buffer("relations", patch_relations(side), persistent=False)

    def losses(self, patches: Tensor) -> dict[str, Tensor]:
        """Loss and statistics of ``(n, N, C)``.

        Returns:
            ``loss_rel``; ``stat/rel_of_uniform``, the loss as a share of ln 9; and ``stat/acc_rel``, the share of pairs
            that are classified rightly.
        """
        scores = self.scores(patches)
        loss = relation_loss(scores, self.relations, self.label_smoothing)
        return {
            "loss_rel": loss,
            "stat/rel_of_uniform": of_uniform(loss, math.log(NUM_RELATIONS)),
            "stat/acc_rel": accuracy(scores, self.relations, dim=1),
        }


@MODELS.register_module()
class PatchPairRegressionHead(GridHead):
    """Regression of a number per pair, in [-1, 1], with a squared error; the prediction is not squashed.

    Args:
        in_channels: C, width of the tokens.
        side: patches per row and column.
        target: ``'distance'`` or ``'angle'``, see :mod:`mmrel.ops.position`.
        neck: see :class:`GridHead`.
        loss_weight: see :class:`GridHead`.
    """

    TARGETS: ClassVar[dict[str, tuple[str, Any]]] = {
        "distance": ("loss_dist", patch_distances),
        "angle": ("loss_angle", patch_angles),
    }

    def __init__(
        self,
        in_channels: int,
        side: int,
        target: str,
        neck: str = "patches",
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(side, neck, loss_weight, init_cfg)
        if target not in self.TARGETS:
            raise ValueError(f"target is {target!r}; choose {' or '.join(map(repr, self.TARGETS))}")
        term, values = self.TARGETS[target]
        self.terms = (term,)
        self.scores = PairScores(in_channels, num_heads=1)
        self.target: Tensor
        self.register_buffer("target", values(side), persistent=False)

    def losses(self, patches: Tensor) -> dict[str, Tensor]:
        """``loss_dist`` or ``loss_angle``."""
        scores = upcast(self.scores(patches)[:, 0])
        return {self.terms[0]: mse_loss(scores, self.target.to(scores.dtype).expand_as(scores))}


@MODELS.register_module()
class PatchPositionHead(GridHead):
    """Classification of each patch: which of the N places of the grid is it from?

    Args:
        in_channels: C, width of the tokens.
        side: patches per row and column.
        neck: see :class:`GridHead`.
        loss_weight: see :class:`GridHead`.
    """

    terms = ("loss_abs_pos",)

    def __init__(
        self,
        in_channels: int,
        side: int,
        neck: str = "patches",
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(side, neck, loss_weight, init_cfg)
        self.classifier = nn.Linear(in_channels, side * side)
        self.places: Tensor
        self.register_buffer("places", torch.arange(side * side), persistent=False)

    def losses(self, patches: Tensor) -> dict[str, Tensor]:
        """Loss and statistics of ``(n, N, C)``.

        Returns:
            ``loss_abs_pos``; ``stat/abs_pos_of_uniform``, the loss as a share of ln N; and ``stat/acc_abs_pos``, the
            share of patches that are placed rightly.
        """
        logits = self.classifier(patches)
        loss = position_loss(logits)
        return {
            "loss_abs_pos": loss,
            "stat/abs_pos_of_uniform": of_uniform(loss, math.log(self.side**2)),
            "stat/acc_abs_pos": accuracy(logits, self.places, dim=2),
        }
