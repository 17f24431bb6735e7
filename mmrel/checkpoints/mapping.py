"""One network's tensors from one layout to the other, with nothing lost and nothing made up."""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from fnmatch import fnmatchcase
from math import inf
from pathlib import Path

import torch
from torch import Tensor

from mmrel.checkpoints.containers import Network
from mmrel.checkpoints.layouts import LAYOUTS, MMREL, Layout
from mmrel.checkpoints.registers import positions_with_class, positions_without_class
from mmrel.checkpoints.rules import State, find_rule, rename
from mmrel.utils import text

PRETRAINING_ONLY = ("mask_token",)
QKV = ("query", "key", "value")
MAX_LISTED = 12


def map_backbone(
    layout: Layout, network: Network, allow_extra: Sequence[str], source: str
) -> tuple[State, dict[str, list[str]]]:
    """Rename a network's backbone to mmpretrain's names.

    Args:
        layout: the names that it has.
        network: its tensors.
        allow_extra: shell patterns of unknown keys that may be left out.
        source: what to call the file in errors.

    Returns:
        The backbone, and the names of all tensors that are not part of it, by group.

    Raises:
        ValueError: with the keys that the layout does not know, or that are not there.
    """
    state, others = rename(layout.rules, network.backbone, to_ours=True)
    if twice := sorted(others.keys() & network.outside.keys()):
        raise ValueError(
            f"'{source}' has {listed(twice)} twice, with and without '{network.prefix}'. Save one of each."
        )
    groups, unknown = _sort(layout, {*network.outside}, [*others, *network.outside], allow_extra)
    missing = missing_keys(layout, network.backbone)
    problems = [
        _problem(
            "unknown",
            unknown,
            "allow those that are no part of the backbone with --allow-extra PATTERN",
        ),
        _problem("missing", missing, "the file is incomplete or of another architecture"),
    ]
    if text := "; ".join(filter(None, problems)):
        raise ValueError(
            f"'{source}' does not fit the layout {layout.name}: {text}. If it is another project's, name it with "
            f"--from; known: {', '.join(LAYOUTS)}."
        )
    state = _fuse_qkv(state, source) if layout.separate_qkv else state
    return (state if layout.class_position else positions_with_class(state)), groups


def map_to_official(layout: Layout, state: State) -> tuple[State, list[str]]:
    """Rename a backbone from mmpretrain's names; see :func:`mmrel.checkpoints.conversion.to_official`."""
    if missing := missing_keys(MMREL, state):
        raise ValueError(f"Not a whole backbone: {_problem('missing', missing)}.")
    separate = _split_qkv(state) if layout.separate_qkv else state
    separate = separate if layout.class_position else positions_without_class(separate)
    renamed, unknown = rename(layout.rules, separate, to_ours=False)
    if wrong := [key for key in unknown if key not in PRETRAINING_ONLY]:
        raise ValueError(
            f"The layout {layout.name} has no name for {listed(wrong)}. Choose another one: {', '.join(LAYOUTS)}."
        )
    return renamed, [*unknown]


def missing_keys(layout: Layout, state: Mapping[str, Tensor]) -> list[str]:
    """Official names of tensors that a file of this layout must have and this one has not."""
    known = [found[1] for key in state if (found := find_rule(layout.rules, key, official=True))]
    depth = 1 + max((int(fields["i"]) for fields in known if "i" in fields), default=0)
    parts: dict[str, list[str]] = {}
    for rule in layout.rules:
        parts.setdefault(rule.part, []).extend(rule.expand(depth, official=True))
    return [
        name
        for part, names in parts.items()
        if part not in layout.optional or any(name in state for name in names)
        for name in names
        if name not in state
    ]


def as_float32(state: State, path: Path) -> tuple[State, list[str]]:
    """Tensors of their own in float32, and a note where that changed the type.

    Raises:
        ValueError: a tensor is not of plain floating-point numbers, or is larger than the file.
    """
    size = path.stat().st_size if path.is_file() else inf  # a URL's file is not here
    for key, value in state.items():
        if value.layout != torch.strided or value.is_meta or not value.is_floating_point():
            raise ValueError(
                f"'{path}' has {key} as {value.dtype} ({value.layout}, {value.device}); weights must be plain "
                "floating-point tensors. Give the checkpoint before it was quantised or pruned."
            )
        if value.numel() * value.element_size() > size:
            raise ValueError(
                f"'{path}' is crafted or damaged: {key} has {value.numel()} numbers, more than the file of {size} "
                "bytes can hold."
            )
    other = sorted({str(value.dtype) for value in state.values() if value.dtype != torch.float32})
    notes = [f"Tensors of {', '.join(other)} are written as float32."] if other else []
    return {
        key: value.detach().to(torch.float32, copy=True).contiguous()
        for key, value in state.items()
    }, notes


def _sort(
    layout: Layout, outside: Set[str], keys: Iterable[str], allow_extra: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Put keys that are not the backbone's into groups; the second result are those of no group."""
    groups: dict[str, list[str]] = {}
    unknown = []
    for key in keys:
        group = next((g for g, regex in layout.left_out.items() if re.fullmatch(regex, key)), None)
        if group is None and layout is MMREL and key in outside:
            group = key.split(".")[0]
        if group is None and any(fnmatchcase(key, pattern) for pattern in allow_extra):
            group = "allowed as extra"
        if group is None:
            unknown.append(key)
        else:
            groups.setdefault(group, []).append(key)
    return groups, unknown


def _fuse_qkv(state: State, source: str) -> State:
    """Join ``layers.i.attn.{query,key,value}.*`` to ``layers.i.attn.qkv.*``, rows in this order."""
    fused = {}
    for key, value in state.items():
        if ".attn.query." in key:
            parts = [state[key.replace(".query.", f".{name}.")] for name in QKV]
            if len({part.shape for part in parts}) > 1:
                shapes = ", ".join(str(tuple(part.shape)) for part in parts)
                raise ValueError(
                    f"'{source}' mixes networks: query, key and value of {key} have the shapes {shapes}. The file is "
                    "damaged or was put together wrongly."
                )
            fused[key.replace(".query.", ".qkv.")] = torch.cat(parts)
        elif not any(f".attn.{name}." in key for name in QKV):
            fused[key] = value
    return fused


def _split_qkv(state: State) -> State:
    separate = {}
    for key, value in state.items():
        if ".attn.qkv." not in key:
            separate[key] = value
            continue
        for name, part in zip(QKV, value.chunk(3), strict=True):
            separate[key.replace(".qkv.", f".{name}.")] = part.clone()
    return separate


def _problem(what: str, keys: Sequence[str], advice: str = "") -> str:
    if not keys:
        return ""
    return f"{len(keys)} key(s) {what}: {listed(keys)}" + (f" ({advice})" if advice else "")


def listed(keys: Sequence[str]) -> str:
    """The first of many keys."""
    return text.listed(keys, MAX_LISTED)
