"""mmpretrain's ``VisionTransformer`` as mmrel's own build on it: no argument without effect, and freezing that holds.

mmpretrain's class freezes stages at construction only, so that the next ``train()`` turns their dropout on again, it
cannot freeze the embeddings alone, and its ``train()`` returns nothing.
"""

from collections.abc import Mapping
from typing import Any

import torch
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor, nn

from mmrel.models.backbones.block import Block, check_recompute


class HostViT(VisionTransformer):
    """What :class:`ViT` and :class:`DenseViT` share.

    Args:
        frozen_stages: -1 trains everything, 0 freezes the embeddings, k also the first k blocks, and the number of
            blocks also the final norm. Frozen parts stay in evaluation mode.
        recompute: what the blocks compute again in the backward pass instead of keeping it, see :class:`ViT`.
        num_registers: R, register tokens (arXiv 2309.16588) between class token and patches. They have no position,
            take part in the attention, and are no part of what the network returns.
        **kwargs: arguments of mmpretrain's ``VisionTransformer``.
    """

    def __init__(
        self,
        frozen_stages: int = -1,
        recompute: str = "none",
        num_registers: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_registers < 0:
            raise ValueError(f"num_registers is {num_registers}; give 0 or more register tokens")
        self.num_registers = num_registers
        registers = torch.zeros(1, num_registers, self.embed_dims)
        self.register_tokens = nn.Parameter(registers) if num_registers else None
        for index, layer in enumerate(self.layers):
            check_recompute(recompute, layer)
            self.layers[index] = Block(layer, recompute)
        self.frozen_stages = _check_frozen(frozen_stages, self.num_layers)
        for part in self._frozen_parts():
            part.requires_grad_(False)

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the patches: the class token, if there is one, and the register tokens."""
        return self.num_extra_tokens + self.num_registers

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return self.patch_embed.projection.in_channels

    def join(self, cls: Tensor | None, patches: Tensor) -> Tensor:
        """``(n, E + R + N, C)``: class token ``(1, 1, C)`` and register tokens, if any, and patches ``(n, N, C)``."""
        prefix = [
            token.expand(len(patches), -1, -1)
            for token in (cls, self.register_tokens)
            if token is not None
        ]
        return torch.cat([*prefix, patches], dim=1) if prefix else patches

    def check_channels(self, images: Tensor) -> None:
        """Raise ``ValueError`` unless images ``(n, channels, H, W)`` have the network's number of channels."""
        if images.shape[1] != self.in_channels:
            raise ValueError(
                f"the images have {images.shape[1]} channel(s), the {type(self).__name__} takes {self.in_channels}; "
                "set the backbone's in_channels to that of the images, and mean and std of the data preprocessor to as "
                "many values"
            )

    def train(self, mode: bool = True) -> "HostViT":
        """Set training mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in self._frozen_parts():
            if isinstance(part, nn.Module):
                part.eval()
        return self

    def _frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        # BaseModule's constructor may call train() before the stages are known.
        stages = getattr(self, "frozen_stages", -1)
        if stages < 0:
            return []
        parts = [self.pos_embed, self.patch_embed, self.drop_after_pos, self.pre_norm]
        tokens = (self.cls_token, self.register_tokens)
        parts += [token for token in tokens if token is not None]
        parts += list(self.layers[:stages])
        return [*parts, self.ln1] if stages == self.num_layers and self.final_norm else parts


def refuse_arguments(owner: str, given: Mapping[str, Any], instead: Mapping[str, str]) -> None:
    """Raise ``ValueError`` for an argument of the host's class that would have no effect.

    Args:
        owner: name of mmrel's class.
        given: the arguments that it passes on.
        instead: what to do, by name of each argument that it does not take.
    """
    for name, remedy in instead.items():
        if name in given:
            raise ValueError(f"{owner} takes no {name}={given[name]!r}; {remedy}.")


def _check_frozen(stages: int, num_layers: int) -> int:
    if not -1 <= stages <= num_layers:
        raise ValueError(
            f"frozen_stages is {stages}; allowed: -1 (nothing), 0 (embeddings), 1 to {num_layers} "
            "(that many blocks too). Change it in the backbone's config."
        )
    return stages
