"""Vision transformers of other projects as mmrel's, and back.

    file -> containers (which network) -> recognise (which layout) -> mapping (names) -> describe (meta)

Every key of a file is renamed, or is known, left out and listed, or is an error; so is every key that is not there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmrel.checkpoints.config_text import as_normalization, given_normalization
from mmrel.checkpoints.containers import (
    Contents,
    Network,
    choose_network,
    open_contents,
    split_backbone,
)
from mmrel.checkpoints.describe import (
    ImgSize,
    check_shapes,
    choose_num_heads,
    describe,
    describe_official,
)
from mmrel.checkpoints.inputs import check_normalization, fit_input
from mmrel.checkpoints.layouts import LAYOUTS, MMREL, NETWORKS, Layout
from mmrel.checkpoints.mapping import as_float32, map_backbone, map_to_official
from mmrel.checkpoints.recognise import check_supported, recognise
from mmrel.checkpoints.rules import State
from mmrel.utils.checkpoint_file import read_checkpoint
from mmrel.utils.files import save_atomically

INDISTINGUISHABLE = ("dino", "ibot", "timm")
PREFIX = "backbone."


@dataclass(frozen=True)
class Backbone:
    """A backbone as it was read from a file.

    Attributes:
        state: float32 tensors under mmpretrain's names, without prefix: ``layers.0.ln1.weight``.
        meta: what a model must be built with, as :func:`load_backbone` returns it.
        layout: whose names the file had.
        container: how the file stored it.
        prefix: what stood before the backbone's keys.
        left_out: names of the tensors that were known and left behind, by group.
        notes: what the user should know.
        changes: what was changed in the weights, because it was asked for.
        full: whether this is a whole pretraining state, with prefixes.
    """

    state: State
    meta: dict[str, Any]
    layout: str
    container: str
    prefix: str
    left_out: dict[str, list[str]]
    notes: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    full: bool = False


def load_backbone(
    path: str | Path, network: str | None = "teacher", **options: Any
) -> tuple[State, dict[str, Any]]:
    """Weights of a vision transformer, from any file that mmrel recognises, under the names of ``mmrel.ViT``.

    These are the released and the full training checkpoints of DINO, iBOT, SERE, SelfPatch, SiT, RelViT, MAE, MoCo v3,
    timm and DINOv2 (its own and Hugging Face's), mmrel's and mmpretrain's own training checkpoints, and files that
    ``tools/export_backbone.py`` and ``tools/convert_checkpoint.py`` wrote. Nothing in the file is executed.

    To build the network: ``arch`` may be ``'custom'``, so give ``ViT`` the four numbers ``embed_dims``, ``num_layers``,
    ``num_heads`` and ``feedforward_channels`` as a dict; with ``layer_scale``, a positive ``layer_scale_init_value``.
    Then :func:`mmrel.models.backbones.pretrained.load_fitted` puts the tensors in: it brings positions to the network's
    grid, leaves out what the network was built without, and raises on any misfit.

    Args:
        path: the file.
        network: ``'teacher'`` or ``'student'``, where a file holds both; ``None`` takes the one that the method's
            authors evaluate, which is the teacher except for MoCo v3, where it is the base encoder (``'student'``). A
            file with one network of which it does not say whose it is gives that one.
        **options: further arguments of :func:`read_backbone_file`.

    Returns:
        The tensors (``'layers.0.ln1.weight'``, float32), and the meta: ``arch``, ``embed_dims``, ``num_layers``,
        ``num_heads``, ``feedforward_channels``, ``patch_size``, ``img_size`` (side, or [height, width]),
        ``in_channels``, ``num_registers``, ``with_cls_token``, ``final_norm``, ``layer_scale``, ``use_pos_embed``,
        ``pos_interpolation`` (``'dino'``, ``'size'`` or ``'antialias'``: the rule that the weights were trained with),
        ``mean`` and ``std`` (of each channel, R, G and B, 0-255 scale: what the images were normalised with),
        ``method``, ``epoch``, ``iter``, ``source`` (name of the training's or the project's file) and ``network``. What
        a file does not tell is ``None``: ``epoch``, ``iter``, ``network``; for timm's and RelViT's official files
        ``mean`` and ``std``, which differ from model to model; and, for mmpretrain's own files, ``pos_interpolation``
        and ``method``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read safely, is not a vision transformer of a known layout, lacks keys, has
            unknown ones, or does not tell its number of heads or its grid.
    """
    backbone = read_backbone_file(path, network=network, **options)
    return backbone.state, backbone.meta


def read_backbone_file(
    path: str | Path,
    layout: str = "auto",
    network: str | None = None,
    allow_extra: Sequence[str] = (),
    num_heads: int | None = None,
    img_size: ImgSize = None,
    contents: Contents | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    patch_size: int | None = None,
    in_channels: int | None = None,
) -> Backbone:
    """As :func:`load_backbone`, with everything that is worth a report.

    Args:
        path: the file.
        layout: a name in :data:`mmrel.checkpoints.layouts.LAYOUTS`, or ``'auto'``.
        network: ``'teacher'``, ``'student'`` or ``None``.
        allow_extra: shell patterns (``'adapter.*'``) of unknown keys to leave out all the same.
        num_heads: attention heads, where the file does not tell them.
        img_size: side or (height, width) in pixels that the positions were made for, where their grid is no square.
        contents: what the file holds, if somebody has read it.
        mean: of each channel (R, G, B) on the 0-255 scale, that the images were normalised with, where the file does
            not tell it.
        std: likewise.
        patch_size: side in pixels to resize the patch kernel to, on the same grid (:mod:`mmrel.ops.patch_kernel`).
        in_channels: channels of the images that the patch kernel is summed or repeated for.
    """
    source = str(path)
    given = given_normalization(mean, std)
    if network not in (None, *NETWORKS):
        raise ValueError(f"network is {network!r}; allowed: {', '.join(NETWORKS)}, or None.")
    contents = contents or open_contents(read_checkpoint(path), source)
    scheme = choose_layout(contents, layout, source)
    name = choose_network(contents, network, scheme.author_network, source)
    found = split_backbone(name, contents.networks[name], source)
    check_supported(found.backbone, source)
    mapped, left_out = map_backbone(scheme, found, allow_extra, source)
    state, notes = as_float32(mapped, Path(path))
    check_shapes(state, source)
    meta = describe_any(scheme, contents, state, num_heads, img_size)
    state, meta, changes = fit_input(state, meta, patch_size, in_channels)
    if known := as_normalization(mean, std):
        check_normalization(known, meta["in_channels"])
    meta |= given
    meta["network"] = _network_name(found, meta, network, source)
    meta.setdefault("source", Path(path).name)
    notes += _notes(scheme, contents, found, meta, layout)
    parts = scheme.name, contents.container, found.prefix, left_out, notes, changes
    return Backbone(state, meta, *parts)


def convert(path: str | Path, output: str | Path, **options: Any) -> Backbone:
    """Write a recognised file's backbone as plain tensors ``backbone.*`` with its meta.

    Args:
        path: the file to read.
        output: the file to write; it appears complete or not at all.
        **options: as for :func:`read_backbone_file`.

    Returns:
        What was written, and what was left out.
    """
    backbone = read_backbone_file(path, **options)
    write_backbone(backbone, path, output)
    return backbone


def write_backbone(backbone: Backbone, path: str | Path, output: str | Path) -> None:
    """Write a backbone that was read from ``path`` as plain tensors ``backbone.*`` with its meta."""
    state = {PREFIX + key: value for key, value in backbone.state.items()}
    save_atomically({"state_dict": state, "meta": backbone.meta}, other_file(path, output))


def convert_to_official(path: str | Path, output: str | Path, to: str, **options: Any) -> Backbone:
    """Write a recognised file's backbone under another project's names, as a flat state dict.

    Args:
        path: the file to read, usually mmrel's.
        output: the file to write.
        to: a layout's name, for instance ``'timm'`` or ``'dino'``.
        **options: as for :func:`read_backbone_file`.
    """
    backbone = read_backbone_file(path, **options)
    state, dropped = to_official(backbone.state, to)
    save_atomically(state, other_file(path, output))
    if dropped:
        backbone.notes.append(f"{to} has no place for {', '.join(dropped)}: left out.")
    return backbone


def to_official(state: State, layout: str) -> tuple[State, list[str]]:
    """A backbone under another project's names: the reverse of what :func:`load_backbone` does, bit for bit.

    Args:
        state: tensors under mmpretrain's names, without prefix.
        layout: a name in :data:`mmrel.checkpoints.layouts.LAYOUTS`.

    Returns:
        The renamed tensors, and the names of those that only pretraining needs and the layout does not have.

    Raises:
        ValueError: an unknown layout, or a tensor that it has no name for.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}; allowed: {', '.join(LAYOUTS)}.")
    return map_to_official(LAYOUTS[layout], state)


def choose_layout(contents: Contents, name: str, source: str) -> Layout:
    """The layout of that name; for ``'auto'``, the one that the keys tell."""
    if name in LAYOUTS:
        return LAYOUTS[name]
    if name != "auto":
        raise ValueError(f"layout is {name!r}; allowed: auto, {', '.join(LAYOUTS)}.")
    network, state = next(iter(contents.networks.items()))
    return recognise(contents, split_backbone(network, state, source).backbone)


def other_file(path: str | Path, output: str | Path) -> Path:
    """The path to write, which must not be the file that is read."""
    if Path(output).is_dir():
        raise ValueError(f"'{output}' is a folder. Give the name of the file to write.")
    if Path(path).resolve() == Path(output).resolve():
        raise ValueError(f"'{output}' is the file that is read. Give another name to write to.")
    return Path(output)


def describe_any(
    scheme: Layout, contents: Contents, state: State, num_heads: int | None, img_size: ImgSize
) -> dict[str, Any]:
    """The meta of a backbone, whoever trained it."""
    if scheme is not MMREL:
        return describe_official(state, scheme, num_heads, img_size)
    beside = contents.beside.get("meta")
    own = beside if isinstance(beside, Mapping) else {}
    meta = describe(state, own, img_size)
    meta |= {key: own[key] for key in ("source", "network") if key in own}
    known = meta["num_heads"]
    if None not in (known, num_heads) and known != num_heads:
        raise ValueError(
            f"num_heads is {num_heads}, but the file says that its weights were trained with {known}. Leave it out."
        )
    heads = known or num_heads
    meta["num_heads"] = choose_num_heads(meta["embed_dims"], scheme, state, heads)
    return meta


def _network_name(
    found: Network, meta: Mapping[str, Any], wanted: str | None, source: str
) -> str | None:
    name = meta.get("network") if found.name == "single" else found.name
    if None not in (name, wanted) and name != wanted:
        raise ValueError(
            f"'{source}' holds the {name} alone, not the {wanted}. Give network={name!r}, or the checkpoint that it "
            "was exported from."
        )
    return name


def _notes(
    scheme: Layout, contents: Contents, found: Network, meta: Mapping[str, Any], asked: str
) -> list[str]:
    notes = []
    if asked == "auto" and scheme.name in INDISTINGUISHABLE and found.name == "single":
        notes.append(
            f"A plain ViT looks alike in {', '.join(INDISTINGUISHABLE)}; it is taken as {scheme.name}'s. --from tells "
            "better; it decides how positions are resized."
        )
    if scheme.name == "mocov3" and found.name != "single":
        notes.append(
            "The authors evaluate the base encoder (--network student, which the tool takes by default); the teacher "
            "is the momentum encoder."
        )
    if not meta["use_pos_embed"] and scheme.name == "relvit":
        notes.append(
            "RelViT pretrains without class token and positions: both are in the file, untrained. Its features come "
            "from with_cls_token=False, use_pos_embed=False; its fine-tuning trains both."
        )
    return notes
