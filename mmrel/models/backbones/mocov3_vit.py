"""The vision transformer of MoCo v3 (Chen et al., ICCV 2021, arXiv 2104.02057, section 4).

It differs from other ViTs in three ways: fixed sine-cosine positions, a patch projection that is never trained (the
paper's remedy for instability), and its own initialisation. Its ViT-S has 12 heads of 32 channels. mmpretrain's
``MoCoV3ViT`` is the same network; this one returns tokens.
"""

import math
from typing import Any

import torch
from mmpretrain.models.utils import build_2d_sincos_position_embedding
from torch import nn

from mmrel.models.backbones.initialisation import draw_registers
from mmrel.models.backbones.vit import ViT
from mmrel.registry import MODELS

VIT_SMALL = dict(embed_dims=384, num_layers=12, num_heads=12, feedforward_channels=1536)


@MODELS.register_module()
class MoCoV3ViT(ViT):
    """A :class:`ViT` as MoCo v3 trains it; the weights' names are the same.

    Args:
        arch: name or dict as in mmpretrain. The default is MoCo v3's ViT-S; ``'deit-small'`` has 6 heads, which no
            weight shows. ViT-B is ``'deit-base'``.
        frozen_patch_embed: whether the patch projection keeps its initial values (``stop_grad_conv1`` of the public
            code).
        pos_interpolation: as in :class:`ViT`.
        **kwargs: further arguments of :class:`ViT`.
    """

    def __init__(
        self,
        arch: str | dict[str, int] = VIT_SMALL,
        frozen_patch_embed: bool = True,
        pos_interpolation: str = "size",
        **kwargs: Any,
    ) -> None:
        super().__init__(arch=arch, pos_interpolation=pos_interpolation, **kwargs)
        if frozen_patch_embed:
            self.patch_embed.projection.requires_grad_(False)
        self.pos_embed.requires_grad_(False)

    @torch.no_grad()
    def draw_weights(self) -> None:
        """Xavier-uniform linear layers with query, key and value apart; fixed positions, class token near 0."""
        rows, cols = self.patch_resolution
        # the function numbers patches column by column, tokens come row by row
        positions = build_2d_sincos_position_embedding(
            (cols, rows), self.embed_dims, cls_token=bool(self.num_extra_tokens)
        )
        self.pos_embed.copy_(positions)
        projection = self.patch_embed.projection
        draw_xavier(projection.weight, projection.weight[0].numel(), self.embed_dims)
        nn.init.zeros_(projection.bias)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                parts = 3 if name.endswith("qkv") else 1
                draw_xavier(module.weight, module.in_features, module.out_features // parts)
                nn.init.zeros_(module.bias)
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=1e-6)
        draw_registers(self)


def draw_xavier(weight: torch.Tensor, fan_in: int, fan_out: int) -> None:
    """Fill a weight from U(-b, b) with ``b = sqrt(6 / (fan_in + fan_out))``."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    nn.init.uniform_(weight, -bound, bound)
