"""The vision transformer that mmrel pretrains: mmpretrain's, with what self-distillation needs.

Follows DINO (Caron et al., ICCV 2021, arXiv 2104.14294) and, for the mask token, iBOT (Zhou et al., ICLR
2022, arXiv 2111.07832). Added to mmpretrain's class: DINO's initialisation, crops of several sizes
with a choice of position interpolation, a mask token, and patch tokens before the final norm. The
parameter names are mmpretrain's, so every host library can load the weights.
"""

import copy
from collections.abc import Collection, Mapping
from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor, nn

from mmrel.models.backbones.host_vit import HostViT, refuse_arguments
from mmrel.models.backbones.initialisation import draw_dino_weights
from mmrel.models.backbones.pretrained import (
    InitCfg,
    State,
    clean_init_cfg,
    fit_tensors,
    load_init_cfg,
)
from mmrel.ops.position import METHODS, fit_position_embedding, resize_position_embedding
from mmrel.ops.recompute import Precision
from mmrel.registry import MODELS
from mmrel.structures import TokenViews
from mmrel.utils.normalization import Normalization

INSTEAD = {
    "out_type": "all tokens are returned, so leave it out",
    "out_indices": "the tokens of the last block are returned; mmrel.DenseViT returns those of several",
    "interpolate_mode": "positions are resized as pos_interpolation says, always bicubic, so leave it out",
}


def check_arch(arch: str | dict[str, int], known: Collection[str] | None = None) -> None:
    """Raise ``ValueError`` for an architecture that is not known by its name.

    Args:
        arch: a name such as ``'deit-small'``, or a dict with the four sizes.
        known: names; ``None``: those of mmpretrain's ViT.
    """
    names = VisionTransformer.arch_zoo if known is None else known
    if isinstance(arch, str) and arch.lower() not in names:
        raise ValueError(
            f"unknown ViT architecture {arch!r}; known names: {sorted(names)}, or "
            "give a dict with embed_dims, num_layers, num_heads and feedforward_channels. (ViT-S is 'deit-small')"
        )


@MODELS.register_module()
class ViT(HostViT):
    """Vision transformer whose forward returns tokens.

    Args:
        arch: name or dict as in mmpretrain; ViT-T/S/B are ``'deit-tiny'``, ``'deit-small'``, ``'deit-base'``.
        img_size: side or (height, width) in pixels that the position embedding is made for.
        patch_size: side of a patch in pixels.
        drop_path_rate: stochastic depth of the last block; it grows linearly over depth.
        mask_token: whether the network has a mask token (iBOT's student; zero-initialised).
        with_cls_token: whether a class token takes part (not in SelfPatch).
        final_norm: whether the tokens pass a norm after the last block (not in SelfPatch).
        use_pos_embed: whether positions are added. RelViT pretrains without: then the embedding is kept, so that
            checkpoints have the same keys, but neither added nor trained.
        pos_interpolation: how the position embedding is resized for other crop sizes: ``'dino'``
            (scale factors with 0.1 added, as DINO and iBOT do), ``'size'``, or ``'antialias'`` (as DINOv2 with register
            tokens does), see :mod:`mmrel.ops.position`. ``None``: as the checkpoint that
            ``init_cfg`` names was trained or, without one, as DINO does.
        recompute: what the blocks compute again in the backward pass instead of keeping it, for less memory:
            ``'none'``; ``'pointwise'``: GELU's result and the normed tokens of the feed-forward network, next to free;
            ``'mlp'``: all normed tokens, and the first matrix product of the feed-forward network; ``'block'``:
            everything but the blocks' inputs, which costs a second forward pass (activation checkpointing). Values and
            gradients are the same. ``'pointwise'`` and ``'mlp'`` are for blocks of layer norms, linear layers and GELU,
            whose own forward hooks are not called in training.
        bf16_residual: under bfloat16 autocast, keep the residual stream of the blocks in bfloat16 too, as DINOv2 and
            DINOv3 keep it in half precision; otherwise it is float32. No effect in other precisions.
        init_cfg: MMEngine's initialisation config. Pretrained weights must fit exactly, an error lists what does
            not; ``checkpoint=None`` starts from random weights.
        **kwargs: ``num_registers``, see :class:`HostViT`, and further arguments of mmpretrain's ``VisionTransformer``:
            ``in_channels``, for instance, or ``frozen_stages``, which means here: -1 trains everything, 0 freezes the
            embeddings, k also the first k blocks, and the number of blocks also the final norm. Frozen parts stay in
            evaluation mode.

    Attributes:
        normalization: mean and deviation of the images that the weights were trained on, where known; the network
            does not apply it.
        out_norm: whether the features that are extracted of it pass the final norm, where nothing else is said. Its
            own forward is not concerned, nor by ``out_indices``, the blocks of which they are.
        provenance: where the weights come from, in a line, if a checkpoint was read for it.
    """

    normalization: Normalization | None = None
    out_norm: bool = True
    provenance: str | None = None

    def __init__(
        self,
        arch: str | dict[str, int] = "deit-small",
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        drop_path_rate: float = 0.0,
        mask_token: bool = False,
        pos_interpolation: str | None = None,
        with_cls_token: bool = True,
        final_norm: bool = True,
        use_pos_embed: bool = True,
        recompute: str = "none",
        bf16_residual: bool = False,
        init_cfg: InitCfg = None,
        **kwargs: Any,
    ) -> None:
        check_arch(arch)
        refuse_arguments("ViT", kwargs, INSTEAD)
        if pos_interpolation not in (None, *METHODS):
            raise ValueError(
                f"pos_interpolation is {pos_interpolation!r}; choose from {sorted(METHODS)}"
            )
        super().__init__(
            arch=arch,
            img_size=img_size,
            patch_size=patch_size,
            drop_path_rate=drop_path_rate,
            with_cls_token=with_cls_token,
            final_norm=final_norm,
            out_type="raw",
            recompute=recompute,
            init_cfg=clean_init_cfg(init_cfg),
            **kwargs,
        )
        self.bf16_residual = bf16_residual
        self.use_pos_embed = use_pos_embed
        if not use_pos_embed:
            self.pos_embed.requires_grad_(False)
        self.patch_size = patch_size
        self.pos_interpolation = pos_interpolation or "dino"
        self._follows_checkpoint = pos_interpolation is None
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims)) if mask_token else None

    @property
    def num_heads(self) -> int:
        """Attention heads per block."""
        return self.arch_settings["num_heads"]

    @property
    def token_channels(self) -> int:
        """C, the width of the tokens."""
        return self.embed_dims

    @property
    def token_grid(self) -> tuple[int, int]:
        """``(rows, cols)`` of the patches of an image of ``img_size``."""
        return tuple(self.patch_resolution)

    def init_weights(self) -> None:
        """Load pretrained weights if ``init_cfg`` names them, otherwise draw new ones.

        Raises:
            ValueError: the checkpoint's backbone does not fit.
        """
        if not load_init_cfg(self):
            super().init_weights()
            self.draw_weights()

    def draw_weights(self) -> None:
        """Initialise as DINO does: truncated normal of std 0.02 for linear layers, class token and positions."""
        draw_dino_weights(self)

    def forward(self, crops: Tensor, masks: Tensor | None = None) -> TokenViews:
        """Tokens of a group of same-size crops.

        Args:
            crops: ``(n, in_channels, H, W)``, H and W multiples of the patch size.
            masks: bool ``(n, N)``; where true, the patch embedding is replaced by the mask token.

        Returns:
            The tokens before and after the final norm, and the class token, if there is one.

        Raises:
            ValueError: sizes do not divide, another number of channels, or masks without a mask token.
        """
        tokens, grid = self.embed(crops, masks)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.views(tokens, grid)

    def embed(self, crops: Tensor, masks: Tensor | None = None) -> tuple[Tensor, tuple[int, int]]:
        """What the first block gets, ``(n, E + N, C)``, E tokens before patches, and the patch grid; see forward."""
        self._check_size(crops)
        tokens, grid = self.patch_embed(crops)
        if masks is not None:
            tokens = self._hide(tokens, masks)
        extra = self.num_extra_tokens
        cls = self.cls_token
        if self.use_pos_embed:
            # Before the class token joins: one pass less over all tokens, which the stream's precision may halve.
            positions = self._positions(grid)
            tokens = self._stream(tokens + positions[:, extra:])
            cls = None if cls is None else self._stream(cls + positions[:, :extra])
        tokens = self.join(cls, tokens)
        return self._stream(self.pre_norm(self.drop_after_pos(tokens))), tuple(grid)

    def views(self, tokens: Tensor, grid: tuple[int, int], norm: bool = True) -> TokenViews:
        """The output of a block, ``(n, E + N, C)``, after the final norm, if there is one and ``norm`` is true."""
        normed = self.ln1(tokens) if self.final_norm and norm else tokens
        cls = normed[:, 0] if self.num_extra_tokens else None
        first = self.num_prefix_tokens
        return TokenViews(cls, normed[:, first:], tokens[:, first:], grid)

    def teacher_copy(self) -> "ViT":
        """A deep copy without mask token, with stochastic depth and dropout off: its tokens are targets."""
        teacher = copy.deepcopy(self)
        teacher.mask_token = None
        for module in teacher.modules():
            if isinstance(module, DropPath):
                module.drop_prob = 0.0
            elif isinstance(module, nn.Dropout):
                module.p = 0.0
            elif isinstance(module, MultiheadAttention):
                module.attn_drop = 0.0
        return teacher

    def fit_state(self, state: State, meta: Mapping[str, Any] | None = None) -> State:
        """A checkpoint's tensors as this network takes them, see :func:`fit_tensors`.

        The positions are resized, then and later, by the rule of ``meta``, unless one was given.
        """
        if self._follows_checkpoint:
            self.pos_interpolation = (meta or {}).get("pos_interpolation") or self.pos_interpolation
        return fit_tensors(self, state, meta, self.pos_interpolation)

    def _prepare_pos_embed(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """mmpretrain's load hook: bring the position embedding to this network's grid and tokens."""
        name = prefix + "pos_embed"
        if name in state_dict:
            state_dict[name] = fit_position_embedding(
                state_dict[name],
                self.patch_resolution,
                self.num_extra_tokens,
                self.pos_interpolation,
            )

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        return resize_position_embedding(
            self.pos_embed,
            self.patch_resolution,
            grid,
            num_extra_tokens=self.num_extra_tokens,
            method=self.pos_interpolation,
        )

    def _stream(self, tokens: Tensor) -> Tensor:
        """The tokens in the precision that they have between the blocks."""
        half = self.bf16_residual and Precision.of(tokens).norm == torch.bfloat16
        return tokens.to(torch.bfloat16) if half else tokens

    def _hide(self, tokens: Tensor, masks: Tensor) -> Tensor:
        if self.mask_token is None:
            raise ValueError(
                "masks were given to a ViT without a mask token; build it with mask_token=True"
            )
        if masks.shape != tokens.shape[:2]:
            raise ValueError(
                f"masks have shape {tuple(masks.shape)}, but the crops give {tuple(tokens.shape[:2])} patches; "
                "draw the masks on the grid of the global crops"
            )
        return torch.where(masks[..., None], self.mask_token.to(tokens.dtype), tokens)

    def _check_size(self, crops: Tensor) -> None:
        self.check_channels(crops)
        height, width = crops.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            near = max(1, round(min(height, width) / self.patch_size)) * self.patch_size
            raise ValueError(
                f"a crop of {height}x{width} pixels is not a whole number of {self.patch_size}-pixel patches; "
                f"choose crop sizes that are multiples of the patch size, such as {near}"
            )
