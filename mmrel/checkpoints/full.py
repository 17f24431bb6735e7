"""The whole pretraining state of another project, to go on with in mmrel: both networks, heads and centres.

Optimiser states are not taken over, since their order of parameters differs. What the official teacher only copies
and never uses (predictors, SERE's parts for local crops, SiT's decoder) has no place in mmrel's and is listed as left
out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmrel.checkpoints.containers import Contents, Network, open_contents, split_backbone
from mmrel.checkpoints.conversion import PREFIX, Backbone, choose_layout, describe_any, other_file
from mmrel.checkpoints.describe import ImgSize, check_shapes
from mmrel.checkpoints.head_layouts import BOTH, BUFFERS, HEADS, LOCAL, NECK, STUDENT, Heads
from mmrel.checkpoints.layouts import Layout
from mmrel.checkpoints.mapping import as_float32, listed, map_backbone
from mmrel.checkpoints.recognise import check_supported
from mmrel.checkpoints.rules import State, find_rule, rename
from mmrel.utils.checkpoint_file import read_checkpoint
from mmrel.utils.files import save_atomically

CLASSIC_NAMES = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
}
SHARED = f"{NECK}.last_layer2."
UPDATES_FIRST = ("mocov3",)
UPDATE_DUE = (
    "MoCo v3's code moves the teacher before each loss, so that this one lags behind by the move of the last step. "
    "--teacher-momentum M makes up for it (M as of that epoch, 0.99 rising to 1)."
)


def convert_full(path: str | Path, output: str | Path, **options: Any) -> Backbone:
    """Write the pretraining state of a full training checkpoint under mmrel's names, for ``load_from``.

    Args:
        path: the file to read.
        output: the file to write; it appears complete or not at all.
        **options: as for :func:`read_full`.

    Returns:
        The whole state (``backbone.*``, ``neck.*``, ``head.*``, ``teacher.*``), with the meta of its backbone.
    """
    whole = read_full(path, **options)
    save_atomically({"state_dict": whole.state, "meta": whole.meta}, other_file(path, output))
    return whole


def read_full(
    path: str | Path,
    layout: str = "auto",
    allow_extra: Sequence[str] = (),
    num_heads: int | None = None,
    img_size: ImgSize = None,
    teacher_momentum: float | None = None,
) -> Backbone:
    """What :func:`convert_full` writes; the arguments are those of a backbone's, and one more.

    Args:
        path: the file.
        layout: see :func:`mmrel.checkpoints.conversion.read_backbone_file`.
        allow_extra: likewise.
        num_heads: likewise.
        img_size: likewise.
        teacher_momentum: move the teacher once with this momentum. MoCo v3's code moves it before each loss, so that
            its files owe the move of the step that they end with; mmrel's moves after the step. The momentum depends
            on the epoch and is not in the file, so ``None`` leaves the teacher as it is and records what is due.

    Raises:
        ValueError: as for a backbone; the file is not a full training checkpoint of a method with known heads; a
            head or a centre is missing or of another form.
    """
    source = str(path)
    contents = open_contents(read_checkpoint(path), source)
    scheme = choose_layout(contents, layout, source)
    if scheme.name not in HEADS or set(contents.networks) != {"teacher", "student"}:
        raise ValueError(
            f"'{source}' is taken as {scheme.name}'s and holds: {', '.join(contents.networks)}. The whole state can "
            f"be converted of {', '.join(HEADS)}, from files with student and teacher. Leave --full out to convert "
            "the backbone."
        )
    state, unused, due = full_state(contents, scheme, source, allow_extra)
    counters = {key: value.clone() for key, value in state.items() if value.dtype == torch.int64}
    plain, notes = as_float32({k: v for k, v in state.items() if k not in counters}, Path(path))
    if teacher_momentum is not None:
        update_teacher(plain, teacher_momentum)
        due = ()
    prefix = f"teacher.{PREFIX}"
    backbone = {k.removeprefix(prefix): v for k, v in plain.items() if k.startswith(prefix)}
    meta = describe_any(scheme, contents, backbone, num_heads, img_size)
    meta |= {"source": Path(path).name, "network": None, "teacher_update_due": bool(due)}
    return Backbone(
        plain | counters,
        meta,
        scheme.name,
        contents.container,
        "",
        unused,
        [*notes, *due],
        full=True,
    )


def full_state(
    contents: Contents, scheme: Layout, source: str, allow_extra: Sequence[str] = ()
) -> tuple[State, dict[str, list[str]], tuple[str, ...]]:
    """Both networks, heads and centres of a full training checkpoint of a method in ``HEADS``.

    Returns:
        The tensors under mmrel's names, the names of those without a place, and notes for the user.

    Raises:
        ValueError: a head or a centre is missing or of another form.
    """
    student, unused = _read_network("student", scheme, contents, allow_extra, source)
    teacher, copies = _read_network("teacher", scheme, contents, allow_extra, source)
    _check_alike(student, teacher, HEADS[scheme.name], source)
    state = student | {f"teacher.{key}": value for key, value in teacher.items()}
    state |= dict(_centers(HEADS[scheme.name], contents, student, source))
    return state, unused | copies, (UPDATE_DUE,) if scheme.name in UPDATES_FIRST else ()


def update_teacher(state: State, momentum: float) -> None:
    """``t <- m t + (1 - m) s`` in place, for every parameter that both networks have (buffers stay each network's).

    Raises:
        ValueError: m is not in [0, 1].
    """
    if not 0 <= momentum <= 1:
        raise ValueError(
            f"teacher_momentum is {momentum}; it is the share of the old teacher, in [0, 1] (0.99 is MoCo v3's)."
        )
    for key, value in state.items():
        student = state.get(key.removeprefix("teacher."))
        if key.startswith("teacher.") and key.rpartition(".")[2] not in BUFFERS:
            assert student is not None, "student and teacher were compared"
            state[key] = momentum * value + (1 - momentum) * student


def _read_network(
    name: str, scheme: Layout, contents: Contents, allow_extra: Sequence[str], source: str
) -> tuple[State, dict[str, list[str]]]:
    """Backbone and heads of one network under mmrel's names for the student, and what was left out."""
    network = _with_classic_names(split_backbone(name, contents.networks[name], source))
    check_supported(network.backbone, source)
    backbone, groups = map_backbone(scheme, network, allow_extra, source)
    check_shapes(backbone, source)
    state = {PREFIX + key: value for key, value in backbone.items()}
    beside = rename(scheme.rules, network.backbone, to_ours=True)[1] | network.outside
    heads, others = rename(HEADS[scheme.name].rules, beside, to_ours=True)
    _check_heads(HEADS[scheme.name], name, beside, source)
    wanted = _wanted(HEADS[scheme.name], name, heads)
    left_out = {f"{name}'s unused parts": [key for key in heads if key not in wanted]}
    extra = set(groups.get("allowed as extra", ()))
    left_out[f"{name}'s extra keys"] = [key for key in others if key in extra]
    if unknown := [key for key in others if key not in extra]:
        raise ValueError(
            f"'{source}': the {name}'s heads have {listed(unknown)}, which {scheme.name}'s official code does not "
            "build. Allow them with --allow-extra PATTERN, or convert the backbone alone."
        )
    return state | {key: heads[key] for key in wanted}, {g: k for g, k in left_out.items() if k}


def _with_classic_names(network: Network) -> Network:
    """Weight-normalised layers under their classic names, ``weight_g`` and ``weight_v``."""
    outside = {}
    for key, value in network.outside.items():
        for new, classic in CLASSIC_NAMES.items():
            key = key.replace(new, classic)
        outside[key] = value
    return replace(network, outside=outside)


def _check_heads(heads: Heads, name: str, state: Mapping[str, Tensor], source: str) -> None:
    local = any(rule.theirs in state for rule in heads.rules if rule.part == LOCAL)
    needed = [BOTH] if name == "teacher" else [STUDENT, BOTH, *([LOCAL] if local else [])]
    missing = [r.theirs for r in heads.rules if r.part in needed and r.theirs not in state]
    if missing:
        raise ValueError(
            f"'{source}': the {name}'s heads lack {listed(missing)}. The file is incomplete or of another form; "
            "leave --full out to convert the backbone alone."
        )


def _wanted(heads: Heads, name: str, state: State) -> list[str]:
    """The head's tensors that mmrel's network of that name has."""
    shared = _shares_prototypes(state)
    wanted = []
    for key in state:
        found = find_rule(heads.rules, key, official=False)
        used = found is not None and (name == "student" or found[0].part == BOTH)
        if used and not (shared and key.startswith(SHARED)):
            wanted.append(key)
    return wanted


def _shares_prototypes(state: State) -> bool:
    """iBOT's prototypes for patches are those for class tokens; the official file has them twice."""
    return f"{SHARED}weight_v" in state and all(
        torch.equal(state[f"{SHARED}{name}"], state[f"{NECK}.last_layer.{name}"])
        for name in ("weight_g", "weight_v")
    )


def _check_alike(student: State, teacher: State, heads: Heads, source: str) -> None:
    """Both networks have the same tensors of the same shapes, but for what only the student has."""
    own = {rule.ours for rule in heads.rules if rule.part != BOTH} | {f"{PREFIX}mask_token"}
    left = {key: value.shape for key, value in student.items() if key not in own}
    right = {key: value.shape for key, value in teacher.items() if key not in own}
    if different := sorted({key for key, _ in left.items() ^ right.items()}):
        raise ValueError(
            f"'{source}': student and teacher differ in {listed(different)}. They are of different networks; "
            "convert one backbone alone."
        )


def _centers(
    heads: Heads, contents: Contents, student: State, source: str
) -> Iterator[tuple[str, Tensor]]:
    numbers = {v.shape[0] for k, v in student.items() if k.endswith(".weight_g") and v.ndim}
    for place, name, ours in heads.centers:
        loss = contents.beside.get(place)
        center = loss.get(name) if isinstance(loss, Mapping) else None
        if not isinstance(center, Tensor):
            raise ValueError(
                f"'{source}' has no {name} under '{place}', the running mean of the teacher's outputs, without which "
                "pretraining cannot go on. Leave --full out to convert the backbone alone."
            )
        if center.numel() not in numbers:
            raise ValueError(
                f"'{source}': {name} under '{place}' has {center.numel()} numbers, the heads have prototypes: "
                f"{', '.join(map(str, sorted(numbers)))}. They are of different runs."
            )
        yield ours, center.reshape(1, -1)
