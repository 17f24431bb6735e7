"""How the backbones' weights begin: drawn as DINO does (arXiv 2104.14294), or loaded."""

from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from mmpretrain.models.backbones import VisionTransformer
from torch import nn

from mmrel.models.backbones.pretrained import State, load_init_cfg


def draw_dino_weights(vit: VisionTransformer) -> None:
    """Truncated normal of std 0.02 for the class token, if any, and all linear layers; biases 0."""
    if vit.cls_token is not None:
        trunc_normal_(vit.cls_token, std=0.02)
    draw_registers(vit)
    draw_linear_weights(vit)


def draw_registers(vit: VisionTransformer) -> None:
    """Normal of std 1e-6 for the register tokens, if any, as in DINOv2's code."""
    registers = getattr(vit, "register_tokens", None)
    if registers is not None:
        nn.init.normal_(registers, std=1e-6)


def draw_linear_weights(network: nn.Module) -> None:
    """Truncated normal of std 0.02 for all linear layers; biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class PlainWeights(BaseModule):
    """What Swin and T2T-ViT add to mmpretrain's classes: how weights come in. Name it first among the bases."""

    def train(self, mode: bool = True) -> "PlainWeights":
        """Set training mode, as mmpretrain's class does; unlike there, the network is returned."""
        super().train(mode)
        return self

    def init_weights(self) -> None:
        """Load pretrained weights or draw new ones: truncated normal of std 0.02 for linear layers.

        Raises:
            ValueError: the checkpoint's backbone does not fit.
        """
        if not load_init_cfg(self):
            super().init_weights()
            draw_linear_weights(self)

    def fit_state(self, state: State, meta: Mapping[str, Any] | None = None) -> State:
        """A checkpoint's tensors as this network takes them: as they are."""
        return state
