"""From what a file holds to the state dict of one network: nested dicts, wrappers, student and teacher.

Training scripts save their networks under several names (``teacher``, ``state_dict``, ``model``) and leave the names of
the wrappers around them in the keys (``module.backbone.``). Here both are taken off, and nothing else.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmrel.checkpoints.foreign import find_foreign
from mmrel.checkpoints.rules import State

WRAPPERS = [
    "module",
    "_orig_mod",
    "_feature_blocks",
    "base_encoder",
    "momentum_encoder",
    "backbone",
    "encoder",
    "trunk",
    "model",
    "dinov2",
    "0",
]
STEM = (
    r"cls_token|pos_embed|patch_embed\.|blocks\.\d+\.|layers\.\d+\.|"
    r"embeddings\.(cls_token|position_embeddings|patch_embeddings\.)|encoder\.layer\.\d+\."
)
BACKBONE_KEY = re.compile(rf"((?:(?:{'|'.join(WRAPPERS)})\.)*)(?:{STEM})")
PARALLEL = re.compile(r"^((module|_orig_mod)\.)+")
PAIRS = (("base_encoder.", "momentum_encoder."), ("student.", "teacher."))
NESTS = ("state_dict", "model")
MAX_LISTED = 8


@dataclass(frozen=True)
class Contents:
    """The networks in a file.

    Attributes:
        container: how they were stored, for the report: ``'teacher/student'``, ``'state_dict'``, ``'flat'``, ...
        networks: state dicts by ``'teacher'`` and ``'student'``; one that is alone is called ``'single'``.
        keys: all keys of all state dicts, as stored.
        beside: the top of the file, for instance with ``'dino_loss'``, which holds the centre.
    """

    container: str
    networks: dict[str, State]
    keys: tuple[str, ...]
    beside: Mapping[str, Any]


@dataclass(frozen=True)
class Network:
    """One network's tensors.

    Attributes:
        name: ``'teacher'``, ``'student'``, or ``'single'``.
        prefix: what stood before the backbone's keys.
        backbone: tensors that stood below the prefix, without it.
        outside: all others.
    """

    name: str
    prefix: str
    backbone: State
    outside: State


def open_contents(loaded: Any, source: str) -> Contents:
    """Find the state dicts in what was loaded.

    Raises:
        ValueError: there is none.
    """
    if not isinstance(loaded, Mapping):
        raise ValueError(
            f"'{source}' holds a {type(loaded).__name__}, not a dict of tensors. Give a checkpoint."
        )
    pair = {
        name: _state(loaded[name], source, name)
        for name in ("teacher", "student")
        if isinstance(loaded.get(name), Mapping)
    }
    if pair:
        keys = tuple(key for state in pair.values() for key in state)
        return Contents("teacher/student", pair, keys, loaded)
    container, state = _single(loaded, source)
    networks = _split_networks(state, source) or {"single": state}
    return Contents(container, networks, tuple(state), loaded)


def choose_network(contents: Contents, wanted: str | None, default: str, source: str) -> str:
    """Name of the network to take: the wanted one, or the default; the only one if there is no choice.

    Raises:
        ValueError: the file does not hold the wanted one.
    """
    names = contents.networks
    if "single" in names:
        return "single"
    if wanted in names:
        return str(wanted)
    if wanted is None:
        return default if default in names else next(iter(names))
    raise ValueError(
        f"'{source}' has no {wanted}; it holds: {', '.join(names)}. Choose with --network (network=...)."
    )


def split_backbone(name: str, state: State, source: str) -> Network:
    """Take the wrappers' names off the backbone's keys.

    Raises:
        ValueError: there is no ViT in the state dict, or more than one.
    """
    found = {match[1] for key in state if (match := BACKBONE_KEY.match(key))}
    if len(found) != 1:
        starts = sorted({key.split(".")[0] for key in state})
        listed = ", ".join(starts[:MAX_LISTED]) + (" ..." if len(starts) > MAX_LISTED else "")
        problem = (
            f"holds several vision transformers, below {', '.join(map(repr, sorted(found)))}"
            if found
            else f"holds no vision transformer of a known layout; its keys start with: {listed or 'nothing'}"
        )
        if foreign := find_foreign(state):
            problem = f"is {foreign}"
        raise ValueError(
            f"'{source}' {problem}. Give a ViT checkpoint (docs/checkpoints.md lists the layouts), or save the "
            "one network alone."
        )
    prefix = found.pop()
    backbone = {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
    outside = {
        PARALLEL.sub("", key): value for key, value in state.items() if not key.startswith(prefix)
    }
    _check_number(len(state), len(backbone) + len(outside), source)
    return Network(name, prefix, backbone, outside)


def _single(loaded: Mapping[str, Any], source: str) -> tuple[str, State]:
    vissl = loaded.get("classy_state_dict")
    if isinstance(vissl, Mapping):
        try:
            return "classy_state_dict", _state(
                vissl["base_model"]["model"]["trunk"], source, "trunk"
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"'{source}' is a VISSL checkpoint without base_model -> model -> trunk. Save its trunk alone."
            ) from error
    for name in NESTS:
        if isinstance(loaded.get(name), Mapping):
            return name, _state(loaded[name], source, name)
    return "flat", _state(loaded, source, "")


def _state(content: Mapping[str, Any], source: str, name: str) -> State:
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    others = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if others or not tensors:
        where = f" under '{name}'" if name else ""
        what = f"not tensors: {', '.join(others[:MAX_LISTED])}" if others else "nothing"
        raise ValueError(
            f"'{source}' holds no state dict{where} ({what}). A state dict is expected at the top or under "
            "'teacher', 'student', 'state_dict' or 'model'; save the tensors so."
        )
    return tensors


def _check_number(before: int, after: int, source: str) -> None:
    if before != after:
        raise ValueError(
            f"'{source}' has {before - after} tensors twice, with and without a wrapper's name (module., _orig_mod.). "
            "Save one of each."
        )


def _split_networks(state: State, source: str) -> dict[str, State]:
    """Student and teacher of one state dict that holds both, as MoCo v3 and mmrel save them."""
    plain = {PARALLEL.sub("", key): value for key, value in state.items()}
    _check_number(len(state), len(plain), source)
    for student, teacher in PAIRS:
        networks: dict[str, State] = {"teacher": {}, "student": {}}
        for key, value in plain.items():
            name = "teacher" if key.startswith(teacher) else "student"
            networks[name][key.removeprefix(teacher if name == "teacher" else student)] = value
        if networks["teacher"]:
            return networks
    return {}
