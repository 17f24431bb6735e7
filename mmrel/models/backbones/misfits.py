"""Whether the tensors of a checkpoint are those of a network, and what to build where they are not."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor

from mmrel.utils.text import listed

State = dict[str, Tensor]
MAX_LISTED = 8
KERNEL = "patch_embed.projection.weight"


def check_fit(
    model: VisionTransformer,
    state: State,
    meta: Mapping[str, Any],
    source: str,
    num_heads: int | None = None,
) -> None:
    """Raise unless ``state`` holds exactly the model's tensors, with their shapes and heads.

    Args:
        model: with ``arch_settings``, as mmpretrain's ViT.
        state: tensors after the model's own fitting (position embedding, unused parts).
        meta: may name ``num_heads``; the weights alone do not show it.
        source: what to call the checkpoint in the error.
        num_heads: attention heads that the weights must have been trained with; ``None``: the
            model's.

    Raises:
        ValueError: with the keys that are missing, unexpected or of another shape.
    """
    _check_patches(model, state, source)
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in state.items()}
    problems = [
        _listed("missing", sorted(wanted.keys() - given.keys())),
        _listed("unexpected", sorted(given.keys() - wanted.keys())),
        _listed(
            "of another shape",
            [
                f"{key} (checkpoint {given[key]}, model {wanted[key]})"
                for key in wanted
                if key in given and given[key] != wanted[key]
            ],
        ),
        _heads(model, meta, num_heads),
    ]
    if text := "; ".join(filter(None, problems)):
        raise ValueError(
            f"The backbone in {source!r} does not fit this {type(model).__name__}: {text}. "
            f"{_advice(given, wanted)}, or choose another checkpoint."
        )


def _check_patches(model: Any, state: State, source: str) -> None:
    own, given = model.state_dict().get(KERNEL), state.get(KERNEL)
    if own is None or given is None or not own.ndim == given.ndim == 4:
        return  # a tensor of another rank is one of another shape, and named as such
    if own.shape[2:] == given.shape[2:]:
        return
    raise ValueError(
        f"The backbone in {source!r} does not fit this {type(model).__name__}: 1 key(s) of another shape: {KERNEL}. It "
        f"was trained on patches of {_by(given.shape[2:])} pixels, the model has patches of {_by(own.shape[2:])}. Set "
        f"patch_size={given.shape[-1]} everywhere in the config, or choose another checkpoint."
    )


def _by(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))


Shapes = Mapping[str, tuple[int, ...]]
GENERAL = (
    "Set arch, patch_size, with_cls_token and out_norm to those of the pretraining (out_norm='none' needs no final "
    "norm ln1, with_cls_token=False no class token)"
)


def _advice(given: Shapes, wanted: Shapes) -> str:
    """The arguments that would build the checkpoint's network, where the names of the tensors tell them."""
    settings = []
    if (found := _registers(given)) != _registers(wanted):
        settings.append(f"num_registers={found}")
    if (found := _scaled(given)) != _scaled(wanted):
        settings.append(f"layer_scale_init_value={1.0 if found else 0.0}")
    return f"Build the backbone with {' and '.join(settings)}" if settings else GENERAL


def _registers(shapes: Shapes) -> int:
    shape = shapes.get("register_tokens", ())
    return shape[1] if len(shape) == 3 else 0


def _scaled(shapes: Shapes) -> bool:
    return any(key.endswith("attn.gamma1.weight") for key in shapes)


def _listed(what: str, keys: list[str]) -> str:
    return f"{len(keys)} key(s) {what}: {listed(keys, MAX_LISTED)}" if keys else ""


def _heads(model: VisionTransformer, meta: Mapping[str, Any], num_heads: int | None) -> str:
    given = meta.get("num_heads")
    if given is None:
        return ""
    own = model.arch_settings["num_heads"]
    wanted = own if num_heads is None else num_heads
    if given == wanted:
        return ""
    expected = "" if wanted == own else f" and pretrained_num_heads is {wanted}"
    return (
        f"it was trained with {given} attention heads, the model has {own}{expected} (build arch with "
        f"{given} heads or, if another number is meant, give pretrained_num_heads={given})"
    )
