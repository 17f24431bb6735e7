"""mmpretrain's ``VisionTransformer`` as mmrel's own build on it: no argument without effect, and freezing that holds.

mmpretrain's class freezes stages at construction only, so that the next ``train()`` turns their dropout on again, it
cannot freeze the embeddings alone, and its ``train()`` returns nothing.
"""

from collections.abc import Mapping
from typing import Any

from mmpretrain.models.backbones import VisionTransformer
from torch import nn

from mmrel.models.backbones.block import Block, check_recompute


class HostViT(VisionTransformer):
    """What :class:`ViT` and :class:`DenseViT` share.

    Args:
        frozen_stages: -1 trains everything, 0 freezes the embeddings, k also the first k blocks, and the number of
            blocks also the final norm. Frozen parts stay in evaluation mode.
        recompute: what the blocks compute again in the backward pass instead of keeping it, see :class:`ViT`.
        **kwargs: arguments of mmpretrain's ``VisionTransformer``.
    """

    def __init__(self, frozen_stages: int = -1, recompute: str = "none", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for index, layer in enumerate(self.layers):
            check_recompute(recompute, layer)
            self.layers[index] = Block(layer, recompute)
        self.frozen_stages = _check_frozen(frozen_stages, self.num_layers)
        for part in self._frozen_parts():
            part.requires_grad_(False)

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
        parts += [] if self.cls_token is None else [self.cls_token]
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
