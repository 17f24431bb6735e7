"""A plain ViT as the backbone of detectors and segmentors (mmdet, mmseg).

mmpretrain's ``VisionTransformer`` with what dense prediction lacks there. The settings are those of
iBOT (arXiv 2111.07832) and SelfPatch (CVPR 2022) on COCO and ADE20K: maps of several blocks, either
without a norm or with the one shared final norm. Tensor names stay mmpretrain's, so any ViT
checkpoint in that layout loads.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor

from mmrel.models.backbones.host_vit import HostViT, refuse_arguments
from mmrel.models.backbones.initialisation import draw_dino_weights
from mmrel.models.backbones.mocov3_vit import VIT_SMALL as MOCOV3_SMALL
from mmrel.models.backbones.pretrained import (
    State,
    clean_init_cfg,
    fit_tensors,
    load_init_cfg,
)
from mmrel.models.backbones.vit import check_arch
from mmrel.ops.position import METHODS, resize_position_embedding
from mmrel.registry import MODELS

OUT_NORMS = ("none", "last", "all")
INSTEAD = {
    "pos_interp": "it is pos_interpolation now",
    "final_norm": "use out_norm instead",
    "out_type": "feature maps are returned, so leave it out",
    "interpolate_mode": "positions are resized as pos_interpolation says, always bicubic, so leave it out",
}


@MODELS.register_module()
class DenseViT(HostViT):
    """Vision transformer that returns feature maps of chosen blocks.

    Weights are given by ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')``.
    They must fit exactly; an error lists what does not. ``checkpoint=None`` starts from random
    weights, drawn as for pretraining (truncated normal, std 0.02). On loading, the position
    embedding is resized to the grid of ``img_size``, and these keys are ignored on purpose:
    ``mask_token`` (pretraining only), ``ln1.*`` if ``out_norm='none'``, ``cls_token`` and its
    position if ``with_cls_token=False``. No parameter of the model is left unused.

    Args:
        arch: name or dict as in mmpretrain; ViT-T/S/B are ``'deit-tiny'``, ``'deit-small'``,
            ``'deit-base'``. MoCo v3's ViT-S, which has 12 heads, is ``'mocov3-small'``.
        img_size: side or (height, width) in pixels of the learned position embedding; any size may
            be fed.
        patch_size: side of a patch in pixels.
        out_indices: blocks whose output is returned, ascending; negative ones count from the end.
            Blocks after the last one are not run and not trained.
        out_norm: ``'none'``: raw maps (iBOT on COCO, SelfPatch); ``'last'``: the final norm on the
            last map only; ``'all'``: the one final norm on every map (iBOT on ADE20K).
        pos_interpolation: ``'size'``, ``'dino'`` or ``'antialias'``, see :mod:`mmrel.ops.position`; ``None``: as the
            checkpoint was trained, if its meta tells, otherwise ``'size'``.
        load_interpolation: the rule on loading, where it is another one than in ``forward``: iBOT resizes positions by
            ``'size'`` when it loads them for COCO and by ``'dino'`` at run time; ``None``: the same.
        with_cp: OpenMMLab's name of ``recompute='block'``.
        recompute: what the blocks compute again in the backward pass instead of keeping it, see
            :class:`~mmrel.models.backbones.ViT`.
        with_cls_token: whether a class token takes part in the attention.
        out_cls_token: whether each map comes with the class token of its block, as heads with a readout token
            (mmseg's ``DPTHead``) take it.
        frozen_stages: -1 trains everything, 0 freezes the embeddings, k also the first k blocks,
            and the number of blocks also the final norm. Frozen parts stay in evaluation mode.
        pretrained_num_heads: attention heads of the pretraining; ``None``: those of ``arch``. The
            weights have the same shapes for any number of heads but mean another function, so a
            checkpoint of another number is refused. SelfPatch's released detection config has 8
            heads for weights of 6: this argument says that such a thing is meant.
        init_cfg: MMEngine's initialisation config.
        **kwargs: ``num_registers``, see :class:`HostViT`, and further arguments of mmpretrain's
            ``VisionTransformer``, for instance ``drop_path_rate`` or ``in_channels``.
    """

    arch_zoo: ClassVar = {**VisionTransformer.arch_zoo, "mocov3-small": MOCOV3_SMALL}

    def __init__(
        self,
        arch: str | dict[str, int] = "deit-small",
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        out_indices: int | Sequence[int] = (3, 5, 7, 11),
        out_norm: str = "none",
        pos_interpolation: str | None = None,
        load_interpolation: str | None = None,
        with_cp: bool = False,
        recompute: str = "none",
        with_cls_token: bool = True,
        out_cls_token: bool = False,
        frozen_stages: int = -1,
        pretrained_num_heads: int | None = None,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ) -> None:
        check_arch(arch, self.arch_zoo)
        _check_choice("out_norm", out_norm, OUT_NORMS)
        for name, rule in (
            ("pos_interpolation", pos_interpolation),
            ("load_interpolation", load_interpolation),
        ):
            if rule is not None:
                _check_choice(name, rule, METHODS)
        refuse_arguments("DenseViT", kwargs, INSTEAD)
        _check_cls_token(out_cls_token, with_cls_token)
        super().__init__(
            frozen_stages=frozen_stages,
            recompute=_check_with_cp(with_cp, recompute),
            arch=arch,
            img_size=img_size,
            patch_size=patch_size,
            out_indices=[-1],
            out_type="featmap",
            final_norm=out_norm != "none",
            with_cls_token=with_cls_token,
            init_cfg=clean_init_cfg(init_cfg),
            **kwargs,
        )
        self.out_indices = check_blocks(out_indices, self.num_layers)
        self.out_norm = out_norm
        self.out_cls_token = out_cls_token
        self.pos_interpolation = pos_interpolation or "size"
        self.load_interpolation = load_interpolation
        self._follows_checkpoint = pos_interpolation is None
        own_heads = self.arch_settings["num_heads"]
        self.pretrained_num_heads = (
            own_heads if pretrained_num_heads is None else pretrained_num_heads
        )
        for layer in self.layers[self.out_indices[-1] + 1 :]:
            layer.requires_grad_(False)

    def init_weights(self) -> None:
        """Load the pretrained weights or draw random ones.

        Raises:
            ValueError: the checkpoint's backbone does not fit.
        """
        if load_init_cfg(self, self.pretrained_num_heads):
            return
        super().init_weights()
        if self.init_cfg is None:
            draw_dino_weights(self)

    def forward(self, x: Tensor) -> tuple[Tensor, ...] | tuple[tuple[Tensor, Tensor], ...]:
        """Feature maps of the chosen blocks.

        Args:
            x: images ``(B, in_channels, H, W)``; a side that is no multiple of the patch size is padded at
                its end.

        Returns:
            One map ``(B, C, ceil(H / patch), ceil(W / patch))`` per entry of ``out_indices``; with ``out_cls_token``
            one pair of map and class token ``(B, C)``.
        """
        tokens, grid = self._embed(x)
        outputs: list[Any] = []
        for index, layer in enumerate(self.layers[: self.out_indices[-1] + 1]):
            tokens = layer(tokens)
            if index in self.out_indices:
                normed = self._normalise(tokens, index)
                feature_map = self._feature_map(normed, grid)
                outputs.append((feature_map, normed[:, 0]) if self.out_cls_token else feature_map)
        return tuple(outputs)

    @torch.no_grad()
    def get_attention(
        self, x: Tensor, blocks: int | Sequence[int] = -1
    ) -> Tensor | tuple[Tensor, ...]:
        """Attention maps, recomputed from queries and keys.

        Args:
            x: images ``(B, in_channels, H, W)``.
            blocks: one block or several; negative ones count from the end.

        Returns:
            ``(B, heads, E + N, E + N)``, rows summing to 1, with E = ``num_prefix_tokens`` before
            the patches; a tuple for several blocks.
        """
        indices = check_blocks(blocks, self.num_layers)
        tokens, _ = self._embed(x)
        maps = []
        for index, layer in enumerate(self.layers[: indices[-1] + 1]):
            if index in indices:
                maps.append(attention_map(layer.attn, layer.ln1(tokens)))
            tokens = layer(tokens)
        return maps[0] if isinstance(blocks, int) else tuple(maps)

    def fit_state(self, state: State, meta: Mapping[str, Any] | None = None) -> State:
        """A checkpoint's tensors without the ignored ones, positions on this model's grid.

        The positions are resized, then and later, by the rule of ``meta``, unless others were given.
        """
        if self._follows_checkpoint:
            self.pos_interpolation = (meta or {}).get("pos_interpolation") or self.pos_interpolation
        return fit_tensors(self, state, meta, self.load_interpolation or self.pos_interpolation)

    def _prepare_pos_embed(self, state_dict: State, prefix: str, *args: Any, **kwargs: Any) -> None:
        """mmpretrain's load hook: fit the state in place, whoever loads it."""
        own = {key: value for key, value in state_dict.items() if key.startswith(prefix)}
        for key in own:
            del state_dict[key]
        fitted = self.fit_state({key.removeprefix(prefix): own[key] for key in own})
        state_dict.update({prefix + key: value for key, value in fitted.items()})

    def _embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        self.check_channels(x)
        tokens, grid = self.patch_embed(x)
        position = resize_position_embedding(
            self.pos_embed,
            self.patch_resolution,
            grid,
            self.num_extra_tokens,
            self.pos_interpolation,
        )
        extra = self.num_extra_tokens
        cls = None if self.cls_token is None else self.cls_token + position[:, :extra]
        tokens = self.join(cls, tokens + position[:, extra:])
        return self.pre_norm(self.drop_after_pos(tokens)), grid

    def _feature_map(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """``(B, C, rows, cols)`` of the patches alone."""
        patches = tokens[:, self.num_prefix_tokens :]
        return patches.reshape(len(tokens), *grid, -1).permute(0, 3, 1, 2)

    def _normalise(self, tokens: Tensor, index: int) -> Tensor:
        wanted = self.out_norm == "all" or (
            self.out_norm == "last" and index == self.out_indices[-1]
        )
        return self.ln1(tokens) if wanted else tokens


def attention_map(attention: MultiheadAttention, tokens: Tensor) -> Tensor:
    """``softmax(q k^T / sqrt(d))`` of one of mmpretrain's attention modules.

    Args:
        attention: of any block.
        tokens: its input ``(B, T, C)``, already normalised.

    Returns:
        ``(B, heads, T, T)``.
    """
    qkv = attention.qkv(tokens).unflatten(-1, (3, attention.num_heads, attention.head_dims))
    query, key, _ = qkv.permute(2, 0, 3, 1, 4)
    return (query @ key.transpose(-2, -1) * attention.head_dims**-0.5).softmax(dim=-1)


def _check_with_cp(with_cp: bool, recompute: str) -> str:
    if with_cp and recompute not in ("none", "block"):
        raise ValueError(
            f"with_cp=True recomputes whole blocks, but recompute is {recompute!r}; give one of the two"
        )
    return "block" if with_cp else recompute


def _check_cls_token(out_cls_token: bool, with_cls_token: bool) -> None:
    if out_cls_token and not with_cls_token:
        raise ValueError(
            "out_cls_token=True returns the class token, but with_cls_token=False leaves it out. Set "
            "with_cls_token=True, or give the head a readout_type that needs no class token."
        )


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(
            f"{name} is {value!r}; allowed: {', '.join(allowed)}. Change it in the backbone's "
            "config."
        )


def check_blocks(indices: int | Sequence[int], num_layers: int) -> list[int]:
    """Numbers of blocks from 0 on.

    Raises:
        ValueError: they are not ascending numbers of ``num_layers`` blocks.
    """
    given = [indices] if isinstance(indices, int) else list(indices)
    found = [index + num_layers if index < 0 else index for index in given]
    if not found or min(found) < 0 or max(found) >= num_layers or found != sorted(set(found)):
        raise ValueError(
            f"blocks {given} are not valid for {num_layers} blocks: they must be "
            f"ascending, without repeats, and lie in [0, {num_layers - 1}] (or [-{num_layers}, "
            f"-1] counted from the end). The last block of a ViT with {num_layers} blocks is "
            f"{num_layers - 1}."
        )
    return found
