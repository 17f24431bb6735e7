"""The projection head of DINO and iBOT: an MLP, a unit bottleneck and weight-normalised prototypes.

DINO (arXiv 2104.14294) section 3; iBOT (arXiv 2111.07832) section 3.3. What differs from the
official code: only the tokens that a loss uses are projected, and the teacher's mean patch logits, which
the centre needs, are the prototypes of the *mean bottleneck*: the last layer is linear without bias, so the
two are equal.
"""

import copy
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn

from mmrel.ops.precision import upcast, without_autocast
from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, ViewBatch


@dataclass(frozen=True)
class ProjectedTokens:
    """Logits over prototypes.

    Attributes:
        cls: ``(n, K)``, class tokens of the network's crops, view-major.
        patches: ``(M, K2)``, the patches at ``ViewBatch.mask_indices``, or ``None``.
        patch_mean: float32 ``(1, K2)``, mean over all patches of all crops (teacher only), or ``None``.
    """

    cls: Tensor
    patches: Tensor | None = None
    patch_mean: Tensor | None = None


class PrototypeLayer(nn.Module):
    """Weight-normalised linear layer without bias: ``logits = g * <x, v / |v|>``.

    The parameters carry the classic names ``weight_g (K, 1)`` and ``weight_v (K, D)``, so official heads load
    as they are, and deep copies are safe. v has torch's default linear initialisation, g is 1.

    Args:
        in_channels: D.
        out_channels: K, the number of prototypes.
        frozen_norm: keep g at 1, so that every logit is a cosine (``norm_last_layer`` of the official code).
    """

    def __init__(self, in_channels: int, out_channels: int, frozen_norm: bool) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(out_channels, 1), requires_grad=not frozen_norm)
        self.weight_v = nn.Parameter(
            nn.Linear(in_channels, out_channels, bias=False).weight.detach()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(..., K)`` of ``(..., D)``."""
        return F.linear(x, self.weight_g * F.normalize(self.weight_v, dim=1, eps=0.0))


@MODELS.register_module()
class PrototypeProjection(BaseModule):
    """Projects class tokens and, for iBOT, masked patches to prototype logits.

    Args:
        in_channels: C, width of the backbone.
        out_channels: K, prototypes for class tokens.
        patches: whether patch tokens are projected too (iBOT).
        patch_out_channels: K2, own prototypes for patches; ``None`` shares the class prototypes
            (``shared_head`` of the official code, as all published recipes do).
        hidden_channels: width of the MLP.
        bottleneck_channels: D, width of the L2-normalised bottleneck.
        num_layers: linear layers in the MLP.
        norm_last_layer: freeze the prototypes' norm at 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 65536,
        patches: bool = False,
        patch_out_channels: int | None = None,
        hidden_channels: int = 2048,
        bottleneck_channels: int = 256,
        num_layers: int = 3,
        norm_last_layer: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_layers < 1:
            raise ValueError(
                f"num_layers is {num_layers}; the projection needs at least 1 linear layer"
            )
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), bottleneck_channels]
        layers: list[nn.Module] = []
        for i, (width_in, width_out) in enumerate(pairwise(widths)):
            layers += [nn.GELU()] if i else []
            layers += [nn.Linear(width_in, width_out)]
        self.mlp = nn.Sequential(*layers)
        self.patches = patches
        self.last_layer = PrototypeLayer(bottleneck_channels, out_channels, norm_last_layer)
        self.last_layer2 = None
        if patches and patch_out_channels is not None:
            self.last_layer2 = PrototypeLayer(
                bottleneck_channels, patch_out_channels, norm_last_layer
            )

    def init_weights(self) -> None:
        """Truncated normal of std 0.02 for the MLP; the prototypes keep their own initialisation."""
        super().init_weights()
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def student(self, tokens: NetworkTokens, views: ViewBatch) -> ProjectedTokens:
        """Logits of all class tokens and of the hidden patches."""
        cls = tokens.global_crops.class_token
        if tokens.local_crops is not None:
            cls = torch.cat([cls, tokens.local_crops.class_token])
        if not self.patches:
            return ProjectedTokens(self.last_layer(self._bottleneck(cls)))
        hidden = tokens.global_crops.patches.flatten(0, 1)[_mask_indices(views)]
        return self._logits(self._bottleneck(torch.cat([cls, hidden])), len(cls))

    def teacher(self, tokens: NetworkTokens, views: ViewBatch) -> ProjectedTokens:
        """Logits of the global class tokens and of the patches that the student does not see."""
        cls = tokens.global_crops.class_token
        if not self.patches:
            return ProjectedTokens(self.last_layer(self._bottleneck(cls)))
        patches = tokens.global_crops.patches.flatten(0, 1)
        bottleneck = self._bottleneck(torch.cat([cls, patches]))
        cls_part, patch_part = bottleneck[: len(cls)], bottleneck[len(cls) :]
        selected = torch.cat([cls_part, patch_part[_mask_indices(views)]])
        projected = self._logits(selected, len(cls))
        return ProjectedTokens(projected.cls, projected.patches, self._mean_logits(patch_part))

    def teacher_copy(self) -> "PrototypeProjection":
        """A deep copy: the teacher has every part of this head."""
        return copy.deepcopy(self)

    @property
    def _patch_layer(self) -> PrototypeLayer:
        return self.last_layer if self.last_layer2 is None else self.last_layer2

    def _bottleneck(self, x: Tensor) -> Tensor:
        return F.normalize(self.mlp(x), dim=-1, eps=1e-12)

    def _logits(self, bottleneck: Tensor, num_cls: int) -> ProjectedTokens:
        if self.last_layer2 is None:
            logits = self.last_layer(bottleneck)
            return ProjectedTokens(logits[:num_cls], logits[num_cls:])
        return ProjectedTokens(
            self.last_layer(bottleneck[:num_cls]), self.last_layer2(bottleneck[num_cls:])
        )

    def _mean_logits(self, bottleneck: Tensor) -> Tensor:
        with without_autocast(bottleneck):
            return self._patch_layer(upcast(bottleneck).mean(dim=0, keepdim=True))


def _mask_indices(views: ViewBatch) -> Tensor:
    if views.mask_indices is None:
        raise ValueError(
            "the batch has no masks, but the projection was built with patches=True; "
            "add mmrel.BlockMask to the pipeline or build it with patches=False"
        )
    return views.mask_indices
