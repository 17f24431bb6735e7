"""The projection of MoCo v3 (arXiv 2104.02057, section 3) and SiT (arXiv 2104.03602): an MLP with batch norms.

What differs from MoCo v3's public code, with equal numbers: all views pass the backbone at once, and only here, where
batch norms would mix their statistics, they go one by one.
"""

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from mmcv.cnn import build_activation_layer
from mmengine.dist import get_world_size
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmrel.models.layers import build_norm
from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, ViewBatch


@MODELS.register_module()
class ContrastiveProjection(BaseModule):
    """Projects class tokens to the features that a contrastive loss compares.

    Linear layer, batch norm and activation in turn; the last batch norm has no affine parameters. The modules are
    numbered as in the official heads: ``mlp.0`` linear, ``mlp.1`` batch norm, ``mlp.2`` activation, ``mlp.3`` linear
    and so on, ``predictor.0`` likewise.

    The defaults are MoCo v3's. SiT has ``activations=("ReLU", "GELU")``, ``predictor=False``, ``bias=True``,
    ``joint_views=True`` and ``init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02)``. In training both networks
    normalise with the statistics of their batch, so a model that is trained must stay in training mode.

    Args:
        in_channels: C, width of the backbone.
        hidden_channels: width of the hidden layers, also of the predictor's.
        out_channels: D, width of the features.
        activations: one name per hidden layer, what follows its batch norm.
        predictor: whether the student has a predictor: one hidden layer with ReLU, then D channels again.
        bias: whether the linear layers have a bias.
        joint_views: whether the batch norms see all views of the batch together; otherwise each view by itself.
        norm_cfg: the batch norm; synchronised over the processes by default, ``dict(type="BN1d")`` is not.
        init_cfg: MMEngine's initialisation config; without one, layers keep torch's own.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int = 4096,
        out_channels: int = 256,
        activations: Sequence[str] = ("ReLU", "ReLU"),
        predictor: bool = True,
        bias: bool = False,
        joint_views: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        norm_cfg = norm_cfg or dict(type="SyncBN")
        widths = [in_channels, *[hidden_channels] * len(activations), out_channels]
        self.mlp = _mlp(widths, activations, bias, norm_cfg)
        self.predictor: nn.Module | None = None
        if predictor:
            widths = [out_channels, hidden_channels, out_channels]
            self.predictor = _mlp(widths, ("ReLU",), bias, norm_cfg)
        self.joint_views = joint_views

    def student(self, tokens: NetworkTokens, views: ViewBatch) -> Tensor:
        """Queries ``(V*B, D)`` of the global crops, view-major: predicted features, if there is a predictor."""
        return self._features(tokens, views)

    def teacher(self, tokens: NetworkTokens, views: ViewBatch) -> Tensor:
        """Keys ``(V*B, D)`` of the global crops, view-major."""
        return self._features(tokens, views)

    def teacher_copy(self) -> "ContrastiveProjection":
        """A deep copy without predictor."""
        teacher = copy.deepcopy(self)
        teacher.predictor = None
        return teacher

    def _features(self, tokens: NetworkTokens, views: ViewBatch) -> Tensor:
        cls = tokens.global_crops.class_token
        parts = (cls,) if self.joint_views else cls.chunk(views.num_global)
        if self.training and len(parts[0]) == get_world_size() == 1:
            raise ValueError(
                "the batch has 1 image, but the batch norms of mmrel.ContrastiveProjection need at least 2 to have a "
                "deviation; raise the batch size"
            )
        return torch.cat([self._project(part) for part in parts])

    def _project(self, cls: Tensor) -> Tensor:
        features = self.mlp(cls)
        return features if self.predictor is None else self.predictor(features)


def _mlp(
    widths: Sequence[int], activations: Sequence[str], bias: bool, norm_cfg: dict[str, Any]
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (width_in, width_out) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(width_in, width_out, bias=bias))
        if i < len(activations):
            layers.append(build_norm(norm_cfg, width_out))
            layers.append(build_activation_layer(dict(type=activations[i])))
        else:
            layers.append(build_norm({**norm_cfg, "affine": False}, width_out))
    return nn.Sequential(*layers)
