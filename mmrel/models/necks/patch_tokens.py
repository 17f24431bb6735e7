"""The patch tokens themselves, for heads that read one grid (RelViT, arXiv 2206.00481)."""

from mmengine.model import BaseModule
from torch import Tensor

from mmrel.ops.position import restore_order
from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, TokenViews, ViewBatch


@MODELS.register_module()
class PatchTokens(BaseModule):
    """Final patch tokens of the global crops, in the order of the grid.

    If the crops' patches were permuted (``mmrel.ShufflePatches``), the tokens are put back in order, which equals
    permuting every target with them.

    Args:
        add_class_token: add the class token to every patch token (an option of RelViT's code).
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(self, add_class_token: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.add_class_token = add_class_token

    def student(self, tokens: NetworkTokens, views: ViewBatch) -> Tensor:
        """``(V*B, N, C)``, row-major."""
        patches = self(tokens.global_crops)
        return patches if views.patch_order is None else restore_order(patches, views.patch_order)

    def forward(self, tokens: TokenViews) -> Tensor:
        """``(n, N, C)`` of one group of crops, in the order of the crops."""
        if not self.add_class_token:
            return tokens.patches
        return tokens.patches + tokens.class_token[:, None]
