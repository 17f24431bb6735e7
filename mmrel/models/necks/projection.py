"""The projection of DINO and iBOT: class tokens and, for iBOT, hidden patches to prototype logits.

DINO (arXiv 2104.14294) section 3; iBOT (arXiv 2111.07832) section 3.3. What differs from the
official code: only the tokens that a loss uses are projected, and the teacher's mean patch logits, which
the centre needs, are the prototypes of the *mean bottleneck*: the last layer is linear without bias, so the
two are equal.
"""

import copy

import torch
from torch import Tensor

from mmrel.models.necks.prototype import PrototypeLayer, PrototypeProjector
from mmrel.models.outputs import ProjectedTokens
from mmrel.ops.prototypes import mean_logits
from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, ViewBatch


@MODELS.register_module()
class PrototypeProjection(PrototypeProjector):
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
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels,
            bottleneck_channels,
            num_layers,
            norm_last_layer,
            init_cfg,
        )
        self.patches = patches
        self.last_layer2 = None
        if patches and patch_out_channels is not None:
            self.last_layer2 = PrototypeLayer(
                bottleneck_channels, patch_out_channels, norm_last_layer
            )

    def student(self, tokens: NetworkTokens, views: ViewBatch) -> ProjectedTokens:
        """Logits of all class tokens and of the hidden patches."""
        cls = tokens.global_crops.class_token
        if tokens.local_crops is not None:
            cls = torch.cat([cls, tokens.local_crops.class_token])
        if not self.patches:
            return ProjectedTokens(self(cls))
        hidden = tokens.global_crops.patches.flatten(0, 1)[_mask_indices(views)]
        return self._logits(self.bottleneck(torch.cat([cls, hidden])), len(cls))

    def teacher(self, tokens: NetworkTokens, views: ViewBatch) -> ProjectedTokens:
        """Logits of the global class tokens and of the patches that the student does not see."""
        cls = tokens.global_crops.class_token
        if not self.patches:
            return ProjectedTokens(self(cls))
        patches = tokens.global_crops.patches.flatten(0, 1)
        bottleneck = self.bottleneck(torch.cat([cls, patches]))
        cls_part, patch_part = bottleneck[: len(cls)], bottleneck[len(cls) :]
        selected = torch.cat([cls_part, patch_part[_mask_indices(views)]])
        projected = self._logits(selected, len(cls))
        mean = mean_logits(patch_part, self._patch_layer.weight)
        return ProjectedTokens(
            projected.cls, patches=projected.patches, patch_mean=mean, patch_rows=len(patches)
        )

    def teacher_copy(self) -> "PrototypeProjection":
        """A deep copy: the teacher has every part of this head."""
        return copy.deepcopy(self)

    @property
    def _patch_layer(self) -> PrototypeLayer:
        return self.last_layer if self.last_layer2 is None else self.last_layer2

    def _logits(self, bottleneck: Tensor, num_cls: int) -> ProjectedTokens:
        if self.last_layer2 is None:
            logits = self.last_layer(bottleneck)
            return ProjectedTokens(logits[:num_cls], patches=logits[num_cls:])
        return ProjectedTokens(
            self.last_layer(bottleneck[:num_cls]), patches=self.last_layer2(bottleneck[num_cls:])
        )


def _mask_indices(views: ViewBatch) -> Tensor:
    if views.mask_indices is None:
        raise ValueError(
            "the batch has no masks, but the projection was built with patches=True; "
            "add mmrel.BlockMask to the pipeline or build it with patches=False"
        )
    return views.mask_indices
