"""Swin transformer for RelViT (arXiv 2206.00481): mmpretrain's, returning tokens."""

from typing import Any

from mmpretrain.models.backbones import SwinTransformer
from torch import Tensor

from mmrel.models.backbones.host_vit import refuse_arguments
from mmrel.models.backbones.initialisation import PlainWeights
from mmrel.models.backbones.pretrained import InitCfg, clean_init_cfg
from mmrel.registry import MODELS
from mmrel.structures import TokenViews

INSTEAD = {
    "use_abs_pos_embed": "the relative position bias is on and the absolute embedding off, so leave it out",
    "interpolate_mode": "there is no absolute position embedding to resize, so leave it out",
    "out_indices": "the tokens of the last stage are returned, so leave it out",
    "out_after_downsample": "nothing follows the last stage, so leave it out",
}


@MODELS.register_module()
class Swin(PlainWeights, SwinTransformer):
    """Swin transformer whose forward returns the tokens of its last stage; it has no class token.

    Its relative position bias is always on. For Swin-T and images of 224 pixels the tokens are a 7 x 7 grid of
    width 768.

    Args:
        arch: name or dict as in mmpretrain.
        img_size: side of the images in pixels.
        drop_path_rate: stochastic depth of the last block.
        init_cfg: MMEngine's initialisation config; pretrained weights must fit exactly.
        **kwargs: further arguments of mmpretrain's ``SwinTransformer``, but for an absolute position embedding
            and other outputs than the last stage's.
    """

    def __init__(
        self,
        arch: str | dict[str, Any] = "tiny",
        img_size: int = 224,
        drop_path_rate: float = 0.1,
        init_cfg: InitCfg = None,
        **kwargs: Any,
    ) -> None:
        refuse_arguments("Swin", kwargs, INSTEAD)
        super().__init__(
            arch=arch,
            img_size=img_size,
            drop_path_rate=drop_path_rate,
            use_abs_pos_embed=False,
            out_indices=(3,),
            init_cfg=clean_init_cfg(init_cfg),
            **kwargs,
        )

    @property
    def token_channels(self) -> int:
        """C, the width of the last stage."""
        return self.num_features[-1]

    @property
    def token_grid(self) -> tuple[int, int]:
        """``(rows, cols)`` of the last stage's tokens: each stage but the first halves the grid, rounding up."""
        shrink = 2 ** (len(self.stages) - 1)
        rows, cols = self.patch_embed.init_out_size
        return -(-rows // shrink), -(-cols // shrink)

    def forward(self, crops: Tensor, masks: None = None) -> TokenViews:
        """Tokens of a group of same-size crops.

        Args:
            crops: ``(n, 3, H, W)``.
            masks: there are none; part of the calling convention.
        """
        tokens, grid = self.patch_embed(crops)
        tokens = self.drop_after_pos(tokens)
        for stage in self.stages:
            tokens, grid = stage(tokens, grid)
        return TokenViews(None, self.norm3(tokens), tokens, tuple(grid))
