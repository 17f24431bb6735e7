"""What a file offers a model: its tensors under mmrel's names, whoever wrote it, and what its weights were made for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path
from typing import Any

from mmpretrain.models.backbones import VisionTransformer

from mmrel.checkpoints.containers import (
    BACKBONE_KEY,
    PARALLEL,
    Contents,
    choose_network,
    open_contents,
    split_backbone,
)
from mmrel.checkpoints.conversion import choose_layout, describe_any
from mmrel.checkpoints.describe import (
    HIDDEN,
    ImgSize,
    check_shapes,
    describe,
    tells_num_heads,
)
from mmrel.checkpoints.full import full_state
from mmrel.checkpoints.head_layouts import HEADS
from mmrel.checkpoints.hugging_face.settings import read_settings
from mmrel.checkpoints.layouts import MMREL, Layout
from mmrel.checkpoints.mapping import as_float32, map_backbone
from mmrel.checkpoints.recognise import check_supported
from mmrel.checkpoints.rules import State

BACKBONE = "backbone"
PREFIXES = {"student": "", "teacher": "teacher.", "single": ""}


@dataclass(frozen=True)
class Offer:
    """Tensors for a model.

    Attributes:
        state: ``backbone.*``, ``neck.<name>.*``, ``head.*``, ``teacher.*``; what the file holds of them.
        meta: sizes of the backbone, and the rule of its positions; empty where the backbone is no ViT.
        origin: what the file was recognised as, for the log.
        notes: what the user should know.
    """

    state: State
    meta: Mapping[str, Any]
    origin: str
    notes: tuple[str, ...] = field(default=())

    @property
    def rule(self) -> str:
        """How positions are resized, ``'size'`` where the file does not tell (mmpretrain's own)."""
        return self.meta.get("pos_interpolation") or "size"

    def backbone(self, prefix: str) -> State:
        """One network's backbone, without prefix; empty if the file has none."""
        start = f"{prefix}{BACKBONE}."
        return {k.removeprefix(start): v for k, v in self.state.items() if k.startswith(start)}


def offer(model: Any, loaded: Any, source: str) -> Offer:
    """Rename what a file holds.

    Args:
        model: the model that begins with it. One without teacher is offered one network: that which the method's
            authors evaluate.
        loaded: what was read.
        source: what to call the file.

    Raises:
        ValueError: it is of no known layout, or incomplete.
    """
    contents = open_contents(loaded, source)
    if not any(BACKBONE_KEY.match(key) for key in contents.keys):
        return _by_names(contents, source, needed=hasattr(model, "backbone"))
    scheme = choose_layout(contents, "auto", source)
    if scheme is not MMREL and not isinstance(getattr(model, "backbone", None), VisionTransformer):
        raise ValueError(
            f"load_from={source!r} holds a vision transformer of {scheme.name}, which does not fit the backbone of "
            f"this {type(model).__name__}. Choose a recipe with mmrel.ViT or mmrel.DenseViT."
        )
    if not hasattr(model, "teacher"):
        name = choose_network(contents, None, scheme.author_network, source)
        state, origin = _networks(contents, scheme, [name], source)
        state = {key.removeprefix("teacher."): value for key, value in state.items()}
        return _described(model, contents, scheme, state, f"{origin} ({name})", (), source)
    if scheme.name in HEADS and set(contents.networks) == {"teacher", "student"}:
        return _whole(model, contents, scheme, source)
    state, origin = _networks(contents, scheme, list(contents.networks), source)
    return _described(model, contents, scheme, state, origin, (), source)


def _by_names(contents: Contents, source: str, needed: bool) -> Offer:
    """A checkpoint without a ViT, whose names must be the model's."""
    networks = contents.networks.items()
    state = {PREFIXES[n] + PARALLEL.sub("", k): v for n, part in networks for k, v in part.items()}
    if needed and not any(key.startswith(f"{BACKBONE}.") for key in state):
        starts = sorted({key.split(".")[0] for key in state})
        raise ValueError(
            f"load_from={source!r} holds no backbone of a known layout; its keys start with: {', '.join(starts[:8])}. "
            "Give a checkpoint that docs/checkpoints.md lists, or one of this model's own."
        )
    return Offer(state, {}, "a checkpoint with the model's own names")


def _whole(model: Any, contents: Contents, scheme: Layout, source: str) -> Offer:
    """Both networks of another project with heads and centres, or without them where they have another form."""
    notes: tuple[str, ...] = ()
    try:
        state, _, notes = full_state(contents, scheme, source)
        origin = f"a full training checkpoint of {scheme.name}"
    except ValueError as error:
        state, origin = _networks(contents, scheme, list(contents.networks), source)
        notes = (f"Its heads could not be taken: {error}",)
    return _described(model, contents, scheme, state, origin, notes, source)


def _networks(
    contents: Contents, scheme: Layout, names: list[str], source: str
) -> tuple[State, str]:
    """The networks of these names: of mmrel's files with everything beside the backbone."""
    state: State = {}
    for name in names:
        network = split_backbone(name, contents.networks[name], source)
        prefix, backbone = PREFIXES[name], network.backbone
        if scheme is MMREL:
            state |= {prefix + key: value for key, value in network.outside.items()}
        else:
            check_supported(backbone, source)
            backbone = map_backbone(scheme, network, (), source)[0]
        state |= {f"{prefix}{BACKBONE}.{key}": value for key, value in backbone.items()}
    kind = "a checkpoint of mmrel or mmpretrain" if scheme is MMREL else f"{scheme.name}'s backbone"
    return state, f"{kind} with {len(names)} network{'s' if len(names) > 1 else ''}"


def _described(
    model: Any,
    contents: Contents,
    scheme: Layout,
    state: State,
    origin: str,
    notes: tuple[str, ...],
    source: str,
) -> Offer:
    """The offer in the model's types, with what the backbone must be built with."""
    floats = {key: value for key, value in state.items() if value.is_floating_point()}
    whole = state | as_float32(floats, Path(source))[0]
    given = Offer(whole, {}, origin, notes)
    backbone = given.backbone("teacher.") or given.backbone("")
    if scheme is MMREL and HIDDEN not in backbone:
        return given  # Swin and others: their names alone are compared
    check_shapes(backbone, source)
    size = _img_size(model.backbone, backbone)
    if _tells_num_heads(contents, scheme, backbone):
        return Offer(whole, describe_any(scheme, contents, backbone, None, size), origin, notes)
    heads = model.backbone.arch_settings["num_heads"]
    guess = (
        f"The file does not tell its number of attention heads; the model's, {heads}, was taken."
    )
    meta = describe_any(scheme, contents, backbone, heads, size)
    return Offer(whole, meta, origin, (*notes, guess))


def _tells_num_heads(contents: Contents, scheme: Layout, backbone: State) -> bool:
    told = read_settings(contents.beside)
    if told is not None and told.num_heads is not None:
        return True
    beside = contents.beside.get("meta")
    own = beside if scheme is MMREL and isinstance(beside, Mapping) else {}
    return bool(describe(backbone, own)["num_heads"]) or tells_num_heads(backbone, scheme)


def _img_size(own: Any, backbone: State) -> ImgSize:
    """The model's image size where its grid fits positions of no square; ``None`` leaves the choice to the file."""
    patches = backbone["pos_embed"].shape[1] - ("cls_token" in backbone)
    grid = getattr(own, "patch_resolution", None)
    if isqrt(patches) ** 2 == patches or grid is None or grid[0] * grid[1] != patches:
        return None
    patch = backbone["patch_embed.projection.weight"].shape[-1]
    return grid[0] * patch, grid[1] * patch
