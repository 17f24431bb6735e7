"""From a backbone's tokens to the features that mmpretrain's classification heads read."""

from mmengine.model import BaseModule
from torch import Tensor

from mmrel.registry import MODELS
from mmrel.structures import FEATURES, TokenViews


@MODELS.register_module()
class TokenFeature(BaseModule):
    """One vector per image, as mmpretrain's ``ImageClassifier`` expects it from a neck.

    Args:
        feature: ``'cls'``: class token; ``'avg'``: mean patch token; ``'cls+avg'``: both, one after the other; all
            after the final norm.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(self, feature: str = "cls", init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if feature not in FEATURES:
            raise ValueError(f"feature is {feature!r}; choose one of {FEATURES}")
        self.feature = feature

    def forward(self, tokens: TokenViews) -> tuple[Tensor]:
        """``(n, C)``, or ``(n, 2C)`` for both, in a tuple."""
        return (tokens.feature(self.feature),)
