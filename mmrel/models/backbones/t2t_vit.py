"""T2T-ViT for RelViT (arXiv 2206.00481): mmpretrain's, returning tokens."""

from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from mmpretrain.models.backbones import T2T_ViT
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mmrel.models.backbones.host_vit import refuse_arguments
from mmrel.models.backbones.initialisation import PlainWeights
from mmrel.models.backbones.pretrained import InitCfg, clean_init_cfg
from mmrel.registry import MODELS
from mmrel.structures import TokenViews

INSTEAD = {
    "out_type": "all tokens are returned, so leave it out",
    "out_indices": "the tokens of the last block are returned, so leave it out",
    "interpolate_mode": "it takes images of img_size only, so leave it out",
    "with_cls_token": "it always has a class token, so leave it out",
}


@MODELS.register_module()
class T2TViT(PlainWeights, T2T_ViT):
    """Tokens-to-Token ViT whose forward returns tokens; the defaults are T2T-ViT-14.

    Its fixed sinusoidal position embedding is always on. For images of 224 pixels, its 14 x 14 patch tokens are
    averaged over neighbourhoods of 3 x 3, every second one, to 7 x 7; the padding does not count.

    Args:
        img_size: side of the images in pixels.
        init_cfg: MMEngine's initialisation config; pretrained weights must fit exactly.
        **kwargs: further arguments of mmpretrain's ``T2T_ViT``.
    """

    def __init__(self, img_size: int = 224, init_cfg: InitCfg = None, **kwargs: Any) -> None:
        refuse_arguments("T2TViT", kwargs, INSTEAD)
        super().__init__(
            img_size=img_size, out_type="raw", init_cfg=clean_init_cfg(init_cfg), **kwargs
        )
        for module in self.modules():
            if isinstance(module, DropPath):
                # mmpretrain gives a numpy scalar, which torch.compile does not trace.
                module.drop_prob = float(module.drop_prob)
        self.arch_settings = dict(num_heads=self.encoder[0].attn.num_heads)

    @property
    def token_channels(self) -> int:
        """C, the width of the tokens."""
        return self.pos_embed.shape[-1]

    @property
    def token_grid(self) -> tuple[int, int]:
        """``(rows, cols)`` of the tokens after pooling."""
        rows, cols = self.patch_resolution
        return (rows + 1) // 2, (cols + 1) // 2

    def forward(self, crops: Tensor, masks: None = None) -> TokenViews:
        """Tokens of a group of same-size crops.

        Args:
            crops: ``(n, 3, H, W)`` of the size that the network was built for.
            masks: there are none; part of the calling convention.

        Raises:
            ValueError: crops of another size, for which there are no positions.
        """
        tokens, (rows, cols) = self.tokens_to_token(crops)
        if [rows, cols] != list(self.patch_resolution):
            raise ValueError(
                f"crops of {crops.shape[-2]}x{crops.shape[-1]} pixels give {rows} x {cols} tokens, but the "
                f"network was built for {self.patch_resolution}; set img_size to the crops' side"
            )
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = self.drop_after_pos(tokens + self.pos_embed)
        for layer in self.encoder:
            tokens = layer(tokens)
        normed = self.norm(tokens)
        patches, grid = _pool(normed[:, 1:], rows)
        return TokenViews(normed[:, 0], patches, _pool(tokens[:, 1:], rows)[0], grid)


def _pool(patches: Tensor, rows: int) -> tuple[Tensor, tuple[int, int]]:
    """``(n, N, C)`` on a grid with so many rows, averaged to half as many rows and columns."""
    maps = patches.transpose(1, 2).unflatten(2, (rows, -1))
    pooled = avg_pool2d(maps, kernel_size=3, stride=2, padding=1, count_include_pad=False)
    return pooled.flatten(2).transpose(1, 2), (pooled.shape[2], pooled.shape[3])
