"""The classification head of SiT's fine-tuning (arXiv 2104.03602): class token and mean patch token together."""

from typing import Any

from mmengine.model import BaseModule
from mmpretrain.models.heads import VisionTransformerClsHead

from mmrel.registry import MODELS


@MODELS.register_module()
class SiTClsHead(VisionTransformerClsHead):
    """Linear layer from 2 C to C channels, GELU, linear layer to the classes.

    It reads what ``mmrel.TokenFeature`` with ``feature='cls+avg'`` gives. Linear layers have truncated normal weights
    of std 0.02 and biases 0, where mmpretrain's class draws the first one otherwise and begins the last one at 0.

    Args:
        num_classes: number of classes.
        in_channels: C, width of the backbone.
        **kwargs: as mmpretrain's ``ClsHead``, for instance ``loss``.
    """

    def __init__(self, num_classes: int, in_channels: int, **kwargs: Any) -> None:
        super().__init__(
            num_classes,
            2 * in_channels,
            hidden_dim=in_channels,
            act_cfg=dict(type="GELU"),
            init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
            **kwargs,
        )

    def init_weights(self) -> None:
        """Draw the weights as the class says."""
        BaseModule.init_weights(self)
