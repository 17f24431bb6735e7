"""From a backbone's tokens to the features that mmpretrain's classification heads read."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmrel.registry import MODELS
from mmrel.structures import FEATURES, TokenViews

EPS = 1e-6


@MODELS.register_module()
class TokenFeature(BaseModule):
    """One vector per image, as mmpretrain's ``ImageClassifier`` expects it from a neck.

    Args:
        feature: ``'cls'``: class token; ``'avg'``: mean patch token; ``'cls+avg'``: both, one after the other; all
            after the final norm, if the backbone has one.
        norm_channels: width of a new layer norm of this vector, which is MAE's ``fc_norm`` (arXiv 2111.06377) where
            the backbone has ``final_norm=False``; ``None``: no norm.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self, feature: str = "cls", norm_channels: int | None = None, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        if feature not in FEATURES:
            raise ValueError(f"feature is {feature!r}; choose one of {FEATURES}")
        self.feature = feature
        self.norm = nn.Identity() if norm_channels is None else nn.LayerNorm(norm_channels, EPS)

    def forward(self, tokens: TokenViews) -> tuple[Tensor]:
        """``(n, C)``, or ``(n, 2C)`` for both, in a tuple."""
        return (self.norm(tokens.feature(self.feature)),)
