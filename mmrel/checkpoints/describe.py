"""What a model must be built with to hold given weights: the ``meta`` of exported and converted files.

The sizes are read off the tensors. The number of attention heads is not in them, and a wrong one loads without a word
and gives other features; it comes from the config that a file of mmrel carries, from the architecture, or from the
user.
"""

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any

from torch import Tensor

from mmrel.checkpoints.architectures import ARCHITECTURES
from mmrel.checkpoints.config_text import (
    as_normalization,
    backbone_config,
    method_name,
    normalization,
)
from mmrel.checkpoints.layouts import Layout
from mmrel.checkpoints.recognise import has_fixed_positions
from mmrel.checkpoints.rules import State
from mmrel.utils.checkpoint_content import checked_meta
from mmrel.utils.normalization import Normalization

ARCH_NAMES = ("deit-tiny", "deit-small", "deit-base", "large", "huge")
UNUSUAL_HEADS = {1152: 16, 1280: 16, 1408: 16, 1664: 16}
CHANNELS_PER_HEAD = 64
DEFAULTS: dict[str, dict[str, Any]] = {
    "ViT": {"arch": "deit-small", "pos_interpolation": "dino"},
    "MoCoV3ViT": {"arch": ARCHITECTURES["mocov3-small"], "pos_interpolation": "size"},
}
"""What mmrel's backbones have where a config does not say; a test compares them."""
PROJECTION = "patch_embed.projection.weight"
HIDDEN = "layers.0.ffn.layers.0.0.weight"
ImgSize = int | Sequence[int] | None


def describe(
    state: State, meta: Mapping[str, Any] | None = None, img_size: ImgSize = None
) -> dict[str, Any]:
    """Sizes and parts of a backbone of mmrel or mmpretrain.

    Args:
        state: tensors under mmpretrain's names, without prefix.
        meta: the checkpoint's own: that of a training, with the config's text in ``cfg``, or of an exported file.
        img_size: side or (height, width) that the positions were made for; ``None`` takes that of ``meta`` or, if
            there is none, a square.

    Returns:
        ``arch`` (a name or ``'custom'``), ``embed_dims``, ``num_layers``, ``num_heads`` (``None`` if unknown),
        ``feedforward_channels``, ``patch_size``, ``in_channels``, ``num_registers``, ``img_size`` (side or [height,
        width]; ``None`` if unknown), ``with_cls_token``, ``final_norm``, ``layer_scale``, ``use_pos_embed``,
        ``pos_interpolation`` (``None`` if unknown), ``mean`` and ``std`` (of each channel, 0-255 scale; ``None`` if
        unknown), ``method`` (``None`` if unknown), ``epoch`` and ``iter``.

    Raises:
        ValueError: ``img_size`` does not belong to the positions, or ``meta`` has values of other types.
    """
    meta = checked_meta(meta)
    text = str(meta.get("cfg", ""))
    config = _settings(text)
    sizes = measure(state)
    trained = _arch_settings(config.get("arch"))
    heads = trained.get("num_heads") if trained.get("embed_dims") == sizes["embed_dims"] else None
    known = img_size or meta.get("img_size")
    arch = meta.get("arch") or config.get("arch")
    return {
        "arch": arch if isinstance(arch, str) else "custom",
        **sizes,
        "num_heads": meta.get("num_heads") or heads,
        "img_size": find_img_size(state, known or _fitting(state, config.get("img_size"))),
        "with_cls_token": meta.get("with_cls_token", "cls_token" in state),
        "use_pos_embed": meta.get("use_pos_embed", config.get("use_pos_embed", True)),
        "pos_interpolation": meta.get("pos_interpolation", config.get("pos_interpolation")),
        **_as_meta(
            as_normalization(meta.get("mean"), meta.get("std")) or normalization(text),
            sizes["in_channels"],
        ),
        "method": meta.get("method") or method_name(text),
        "epoch": meta.get("epoch"),
        "iter": meta.get("iter"),
    }


def describe_official(
    state: State, layout: Layout, num_heads: int | None = None, img_size: ImgSize = None
) -> dict[str, Any]:
    """The same for weights that another project trained.

    Raises:
        ValueError: the number of heads or the grid of the positions cannot be told.
    """
    sizes = measure(state)
    heads = choose_num_heads(sizes["embed_dims"], layout, state, num_heads)
    size = find_img_size(state, img_size)
    if size is None:
        has = "and a cls_token" if "cls_token" in state else "but no cls_token"
        raise ValueError(
            f"The file has a position embedding of {state['pos_embed'].shape[1]} entries {has}, which leaves no "
            "square grid of patches. Give the size in pixels that it was made for: --img-size HEIGHT WIDTH "
            "(img_size=(height, width))."
        )
    rule = layout.register_interpolation if sizes["num_registers"] else None
    return {
        "arch": _arch_name(sizes | {"num_heads": heads}),
        **sizes,
        "num_heads": heads,
        "img_size": size,
        "with_cls_token": "cls_token" in state,
        "use_pos_embed": True,
        "pos_interpolation": rule or layout.pos_interpolation,
        **_as_meta(layout.normalization, sizes["in_channels"]),
        "method": layout.name,
        "epoch": None,
        "iter": None,
        **layout.overrides,
    }


def _as_meta(known: Normalization | None, channels: int) -> dict[str, Any]:
    """As lists, which every safe reader takes; ``None`` if they are those of other channels."""
    names = ("mean", "std")
    if known is None or len(known.mean) != channels:
        return dict.fromkeys(names)
    return dict(zip(names, map(list, known), strict=True))


def measure(state: State) -> dict[str, Any]:
    """What the tensors themselves show."""
    embed_dims, in_channels, patch_size, _ = state[PROJECTION].shape
    registers = state.get("register_tokens")
    return {
        "embed_dims": embed_dims,
        "num_layers": num_blocks(state),
        "feedforward_channels": state[HIDDEN].shape[0],
        "patch_size": patch_size,
        "in_channels": in_channels,
        "num_registers": 0 if registers is None else registers.shape[1],
        "final_norm": "ln1.weight" in state,
        "layer_scale": "layers.0.attn.gamma1.weight" in state,
    }


def num_blocks(state: State) -> int:
    """Highest block number plus one."""
    return 1 + max(int(key.split(".")[1]) for key in state if key.startswith("layers."))


def choose_num_heads(embed_dims: int, layout: Layout, state: State, given: int | None) -> int:
    """The given number of heads, or the usual one of the width.

    Raises:
        ValueError: a number that does not divide the width, or a width or origin that leaves it open.
    """
    advice = "Give it with --num-heads (num_heads=...)."
    if given is not None:
        if given < 1 or embed_dims % given:
            raise ValueError(
                f"num_heads is {given}; it must divide the width {embed_dims}. {advice}"
            )
        return given
    if embed_dims in layout.num_heads:
        return layout.num_heads[embed_dims]
    if layout.name != "mocov3" and embed_dims == 384 and has_fixed_positions(state):
        raise ValueError(
            "A ViT-S with fixed sine-cosine positions may be MoCo v3's, which has 12 attention heads, or another "
            f"one's with 6; the weights do not show it. {advice}"
        )
    if embed_dims in UNUSUAL_HEADS:
        return UNUSUAL_HEADS[embed_dims]
    if embed_dims % CHANNELS_PER_HEAD:
        raise ValueError(
            f"The number of attention heads is not in the weights, and a width of {embed_dims} is no multiple of "
            f"{CHANNELS_PER_HEAD} that would tell it. {advice}"
        )
    return embed_dims // CHANNELS_PER_HEAD


def tells_num_heads(state: State, layout: Layout) -> bool:
    """Whether the width of a backbone leaves no doubt of its number of heads, where it can be told at all."""
    width = state[PROJECTION].shape[0]
    known = width in layout.num_heads or width in UNUSUAL_HEADS
    return known or width % CHANNELS_PER_HEAD == 0


def find_img_size(state: State, known: Any = None) -> int | list[int] | None:
    """Size in pixels that the positions were made for: the known one, or that of a square grid.

    Raises:
        ValueError: the known size has another number of patches.
    """
    patch, length = state[PROJECTION].shape[-1], state["pos_embed"].shape[1]
    patches = length - ("cls_token" in state)
    if known is None:
        side = isqrt(patches)
        return side * patch if side * side == patches else None
    height, width = (known, known) if isinstance(known, int) else known
    rows, cols = height // patch, width // patch
    if rows * cols != patches:
        raise ValueError(
            f"An image of {height} x {width} pixels has {rows} x {cols} patches of {patch} pixels, but the position "
            f"embedding has {patches}. Give the size that it was made for as --img-size HEIGHT WIDTH."
        )
    return height if height == width else [height, width]


def _fitting(state: State, size: Any) -> Any:
    """A config's image size if it belongs to the positions; the config may tell of another network."""
    try:
        return find_img_size(state, size)
    except (ValueError, TypeError):
        return None


def check_shapes(state: State, source: str) -> None:
    """Raise ``ValueError`` unless all tensors of a backbone have the shapes of one network."""
    weight = state[PROJECTION]
    hidden = state[HIDDEN]
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or hidden.ndim != 2:
        raise ValueError(
            f"'{source}' is not a plain ViT: its patch embedding is {tuple(weight.shape)} (wanted: width, "
            f"channels, and a square patch), its first MLP weight {tuple(hidden.shape)} (wanted: hidden, width)."
        )
    wrong = [
        f"{key} {tuple(value.shape)} instead of {shape}"
        for key, value in state.items()
        if not _has_shape(value, shape := _shape(key, weight.shape[0], hidden.shape[0]))
    ]
    if wrong:
        raise ValueError(
            f"'{source}' mixes networks: {', '.join(wrong[:4])}{' ...' if len(wrong) > 4 else ''}. Its patch "
            f"embedding is {weight.shape[0]} wide. The file is damaged or was put together wrongly."
        )


def _has_shape(value: Tensor, wanted: tuple[int | None, ...]) -> bool:
    return value.ndim == len(wanted) and all(
        want in (None, have) for want, have in zip(wanted, value.shape, strict=True)
    )


def _shape(key: str, width: int, hidden: int) -> tuple[int | None, ...]:
    """Shape of a tensor; ``None`` where any length is right."""
    name = key.split(".", 2)[2] if key.startswith("layers.") else key
    return {
        "cls_token": (1, 1, width),
        "mask_token": (1, 1, width),
        "register_tokens": (1, None, width),
        "pos_embed": (1, None, width),
        PROJECTION: (width, None, None, None),
        "attn.qkv.weight": (3 * width, width),
        "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width),
        "ffn.layers.0.0.weight": (hidden, width),
        "ffn.layers.0.0.bias": (hidden,),
        "ffn.layers.1.weight": (width, hidden),
    }.get(name, (width,))


def _settings(text: str) -> dict[str, Any]:
    """The backbone's settings in a config's text, with the defaults of mmrel's backbones."""
    given = {key: value for key, value in backbone_config(text).items() if value is not None}
    return DEFAULTS.get(str(given.get("type")).rpartition(".")[2], {}) | given


def _arch_settings(arch: Any) -> dict[str, int]:
    if isinstance(arch, dict):
        return arch
    return ARCHITECTURES.get(arch, {}) if isinstance(arch, str) else {}


def _arch_name(sizes: Mapping[str, Any]) -> str:
    for name in ARCH_NAMES:
        if all(sizes[key] == value for key, value in _arch_settings(name).items()):
            return name
    return "custom"
