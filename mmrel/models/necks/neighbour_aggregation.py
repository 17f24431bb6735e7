"""SelfPatch's neck (CVPR 2022, arXiv 2206.07990, section 3): what stands for an image and for a patch's neighbours.

An aggregation module takes the place of the backbone's class token: over all patches of a crop it gives the image
token. The teacher also applies it to each patch's most similar neighbours, which gives the target of that patch;
the student's patches stay as they are. Follows the official code. What differs from it, with equal numbers: how the
module computes, see :mod:`mmrel.models.necks.class_attention`; crops of both sizes are projected at once; the mean
image logits of all crops, for the centre, are those of the mean bottleneck, so that the teacher's
prototypes are applied to global crops only; and patch logits stay in two factors, for a loss that forms them in pieces.
"""

import copy
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmrel.models.necks.class_attention import Aggregator
from mmrel.models.necks.prototype import PrototypeProjector
from mmrel.models.outputs import AggregatedTokens, PatchLogits
from mmrel.ops.neighbours import check_neighbours, select_neighbours
from mmrel.ops.prototypes import mean_logits
from mmrel.ops.recompute import layer_norm
from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, TokenViews, ViewBatch


@MODELS.register_module()
class NeighbourAggregation(BaseModule):
    """Aggregates patches to image tokens, and neighbours to targets for patches, and projects both to logits.

    It reads the patch tokens as they leave the backbone's last block.

    Args:
        in_channels: C, width of the backbone.
        num_heads: heads of the class attention; the backbone's number.
        depth: blocks of class attention.
        k: neighbours whose summary is a patch's target, at most 8.
        border: ``'wrap'`` or ``'clip'``, see :func:`mmrel.ops.neighbours.select_neighbours`.
        out_channels: K, prototypes for image tokens.
        patch_out_channels: K2, prototypes for patches.
        hidden_channels: width of the two MLPs.
        bottleneck_channels: D, width of their L2-normalised bottlenecks.
        num_layers: linear layers in each MLP.
        norm_last_layer: freeze the prototypes' norm at 1, of both projections.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        in_channels: int,
        num_heads: int,
        depth: int = 2,
        k: int = 4,
        border: str = "wrap",
        out_channels: int = 65536,
        patch_out_channels: int = 4096,
        hidden_channels: int = 2048,
        bottleneck_channels: int = 256,
        num_layers: int = 3,
        norm_last_layer: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_neighbours(k, border)
        self.k = k
        self.border = border
        self.aggregator = Aggregator(in_channels, num_heads, depth)
        rest = hidden_channels, bottleneck_channels, num_layers, norm_last_layer
        self.cls_projector = PrototypeProjector(in_channels, out_channels, *rest)
        self.patch_projector = PrototypeProjector(in_channels, patch_out_channels, *rest)

    def student(self, tokens: NetworkTokens, views: ViewBatch) -> AggregatedTokens:
        """Logits of all crops' image tokens, and of their patches as they are."""
        groups = _groups(tokens)
        cls = torch.cat([self.image_token(group) for group in groups])
        patches = [group.prenorm_patches for group in groups]
        return AggregatedTokens(self.cls_projector(cls), patches=self._patch_logits(patches, views))

    def teacher(self, tokens: NetworkTokens, views: ViewBatch) -> AggregatedTokens:
        """Logits of the global crops' image tokens, and of what all crops' patches have for neighbours."""
        groups = _groups(tokens)
        bottleneck = self.cls_projector.bottleneck(
            torch.cat([self.image_token(group) for group in groups])
        )
        prototypes = self.cls_projector.last_layer.weight
        num_global = len(tokens.global_crops.prenorm_patches)
        targets = [self.neighbour_tokens(group) for group in groups]
        return AggregatedTokens(
            bottleneck[:num_global] @ prototypes.T,
            patches=self._patch_logits(targets, views),
            cls_mean=mean_logits(bottleneck, prototypes),
            mean_rows=len(bottleneck),
        )

    def teacher_copy(self) -> "NeighbourAggregation":
        """A deep copy: the teacher has every part of this neck."""
        return copy.deepcopy(self)

    def image_token(self, tokens: TokenViews) -> Tensor:
        """What stands for a class token, ``(n, C)``: the summary of all patches, normed."""
        return self.aggregator.norm(self.aggregator.over_crops(tokens.prenorm_patches))

    def neighbour_tokens(self, tokens: TokenViews) -> Tensor:
        """The summary of each patch's most similar neighbours, ``(n, N, C)``; not normed."""
        patches = tokens.prenorm_patches
        indices = select_neighbours(patches, tokens.grid, self.k, self.border)
        return self.aggregator.over_neighbours(patches, indices)

    def _patch_logits(self, groups: Sequence[Tensor], views: ViewBatch) -> PatchLogits:
        """Normed and projected patches ``(n, N, C)`` of all groups of crops."""
        flat = torch.cat([group.flatten(0, 1) for group in groups])
        counts = [group.shape[1] for group in groups for _ in range(len(group) // views.batch_size)]
        return PatchLogits(
            self.patch_projector.bottleneck(layer_norm(flat, self.aggregator.norm)),
            self.patch_projector.last_layer.weight,
            tuple(counts),
        )


def _groups(tokens: NetworkTokens) -> list[TokenViews]:
    """The groups of same-size crops, the global ones first."""
    both = tokens.global_crops, tokens.local_crops
    return [group for group in both if group is not None]
