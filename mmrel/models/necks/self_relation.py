"""The projections of SERE (TPAMI 2023, arXiv 2206.05184): tokens whose self-relations are compared.

Projection: batch norm and ReLU. Predictor, on the student only: 1x1 convolution, batch norm and ReLU. They read the
patch tokens *before* the backbone's final norm. What differs from the official code, with equal numbers: the student
computes only its predictor's relation and the teacher only its projection's, and the teacher has no predictor. What
differs in the result: the parts for local crops are chosen by the crop's kind, where the official code counts crops
and so uses the parts for global crops when there are one or two local crops.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmrel.models.layers import build_norm
from mmrel.models.outputs import RelationTokens
from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, TokenViews, ViewBatch


@MODELS.register_module()
class SelfRelation(BaseModule):
    """Projection and predictor of one kind of self-relation; one neck each for spatial and channel.

    The convolution keeps torch's own initialisation, as in the official code. In training both networks
    normalise with the statistics of their batch, so a model that is trained must stay in training mode.

    Args:
        in_channels: C, the backbone's width.
        local: whether the batches hold local crops; they have their own projection and predictor.
        norm_cfg: the batch norm; synchronised over the processes by default.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        in_channels: int,
        local: bool = True,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        norm_cfg = norm_cfg or dict(type="SyncBN")
        self.projection = _projection(in_channels, norm_cfg)
        self.predictor: nn.Module | None = _predictor(in_channels, norm_cfg)
        self.local_projection = _projection(in_channels, norm_cfg) if local else None
        self.local_predictor = _predictor(in_channels, norm_cfg) if local else None

    def student(self, tokens: NetworkTokens, views: ViewBatch) -> RelationTokens:
        """Predicted tokens of all crops."""
        crops, local = tokens.global_crops, tokens.local_crops
        predicted = _predicted(crops, self.projection, self.predictor)
        if (local is None) != (self.local_projection is None):
            raise ValueError(
                f"the batch has {views.num_local} local crops per image, but the neck was built with "
                f"local={local is None}; build it with local={local is not None}, or change num_local of the crops"
            )
        if local is None:
            return RelationTokens(predicted, crops.grid)
        predicted_local = _predicted(local, self.local_projection, self.local_predictor)
        return RelationTokens(predicted, crops.grid, predicted_local, local.grid)

    def teacher(self, tokens: NetworkTokens, views: ViewBatch) -> RelationTokens:
        """Projected tokens of the global crops."""
        crops = tokens.global_crops
        return RelationTokens(_tokens(self.projection(crops.prenorm_maps)), crops.grid)

    def teacher_copy(self) -> "SelfRelation":
        """A deep copy of the projection for global crops, which is all that a teacher uses."""
        teacher = copy.deepcopy(self)
        teacher.predictor = teacher.local_projection = teacher.local_predictor = None
        return teacher


class PointwiseConv(nn.Conv2d):
    """A 1x1 convolution of maps, channels last in memory, computed as one matrix product.

    The gradient of its weight has the weight's own strides. Convolutions give one in channels-last order, which
    distributed training has to copy in every step.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Maps ``(n, C, rows, cols)`` to maps of as many channels as there are filters."""
        rows = F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
        return rows.permute(0, 3, 1, 2)


def _projection(channels: int, norm_cfg: dict[str, Any]) -> nn.Sequential:
    return nn.Sequential(build_norm(norm_cfg, channels), nn.ReLU(inplace=True))


def _predictor(channels: int, norm_cfg: dict[str, Any]) -> nn.Sequential:
    return nn.Sequential(
        PointwiseConv(channels, channels, 1, bias=False),
        build_norm(norm_cfg, channels),
        nn.ReLU(inplace=True),
    )


def _predicted(
    views: TokenViews, projection: nn.Sequential | None, predictor: nn.Module | None
) -> Tensor:
    """Tokens ``(n, N, C)`` behind projection and predictor.

    The networks are for maps; as channels-last maps, tokens are not transposed in memory.
    """
    assert projection is not None and predictor is not None, (
        "a teacher has no predictor and no parts for local crops"
    )
    norm, relu = projection
    maps = norm(views.prenorm_maps)
    if maps.device.type == "cuda" and torch.is_autocast_enabled("cuda"):
        # The predictor's product takes this dtype anyway. Before the ReLU, whose result is the
        # same, the cast halves the ReLU's memory traffic.
        maps = maps.to(torch.get_autocast_dtype("cuda"))
    return _tokens(predictor(relu(maps)))


def _tokens(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)
