"""Going on from weights: what ``load_from`` names, whole or not at all, in every network of a model.

    file -> offered tensors under mmrel's names -> parts of the model -> from the file, or fresh

The file may be a checkpoint of mmrel, an exported or converted backbone, or any official one that
:mod:`mmrel.checkpoints.layouts` knows. MMEngine loads without strictness and only logs what does not fit, which leaves
a teacher, or everything, at random values. Here the backbone must fit to the last tensor, in the student and in the
teacher; a neck or a head comes from the file as a whole, or begins anew as a whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor, nn

from mmrel.checkpoints.mapping import listed
from mmrel.checkpoints.offer import BACKBONE, Offer, offer
from mmrel.checkpoints.rules import State
from mmrel.models.backbones.misfits import check_fit
from mmrel.models.backbones.pretrained import fit_input, fit_tensors, trained_grid

TEACHER = "teacher."
NOT_LEARNT = ("data_preprocessor",)
"""Parts that a config decides, not a file."""


@dataclass(frozen=True)
class Continuation:
    """What a model begins with.

    Attributes:
        state: all its tensors.
        fresh: parts that the file does not hold or that have another form there, with the reason.
        report: one paragraph for the log.
    """

    state: State
    fresh: dict[str, str]
    report: str


def continue_from(model: Any, loaded: Any, source: str) -> Continuation:
    """The weights that a model begins with, from a checkpoint.

    A network that the file does not hold gets the other one's weights: an exported teacher goes into both.

    Args:
        model: the one to train, initialised.
        loaded: what the file holds.
        source: its name, for messages.

    Raises:
        ValueError: the file is of no known layout, or a tensor of its backbone is missing, unexpected or of another
            shape, or was trained with another number of heads.
    """
    given = offer(model, loaded, source)
    own = {key: value.detach() for key, value in model.state_dict().items()}
    groups = _parts(model, own)
    state, fresh = dict(own), dict[str, str]()
    if BACKBONE in groups:
        state |= _backbones(model, given, source)
    for name, keys in groups.items():
        if name != BACKBONE and name not in NOT_LEARNT:
            found, reason = _part(keys, own, given.state)
            state |= found
            if reason:
                fresh[name] = reason
    for name, neck in _readers(model).items():
        if neck in fresh and name not in fresh and name in groups:
            fresh[name] = f"{neck} is fresh"
            state |= {key: own[key] for key in groups[name]}
    if not groups.keys() - fresh.keys() - set(NOT_LEARNT):
        raise ValueError(
            f"load_from={source!r} fits nothing of this {type(model).__name__}: {'; '.join(fresh.values())}. Give a "
            "checkpoint of this model, or leave load_from out."
        )
    return Continuation(state, fresh, _report(model, given, groups, fresh, source))


def _parts(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Keys by part: ``backbone``, ``neck.projection``, ``head``, ...; a teacher's stand with the student's."""
    groups: dict[str, list[str]] = {}
    for key in state:
        first, *rest = key.removeprefix(TEACHER).split(".")
        several = isinstance(getattr(model, first, None), nn.ModuleDict)
        groups.setdefault(f"{first}.{rest[0]}" if several else first, []).append(key)
    return groups


def _backbones(model: Any, given: Offer, source: str) -> State:
    """Every backbone's tensors, the other network's where the file has one alone.

    Raises:
        ValueError: they do not fit.
    """
    student, teacher = given.backbone(""), given.backbone(TEACHER)
    networks = {f"{BACKBONE}.": (model.backbone, student or teacher)}
    if hasattr(model, "teacher"):
        networks[f"{TEACHER}{BACKBONE}."] = (model.teacher.backbone, teacher or student)
    state: State = {}
    for prefix, (backbone, tensors) in networks.items():
        fitted = _fit(backbone, tensors, given, source)
        state |= {prefix + key: value for key, value in fitted.items()}
    return state


def _fit(backbone: Any, tensors: State, given: Offer, source: str) -> State:
    heads = None
    tensors, _ = fit_input(backbone, tensors, source)
    if isinstance(backbone, VisionTransformer):
        rule = getattr(backbone, "load_interpolation", None) or given.rule
        tensors = fit_tensors(backbone, tensors, given.meta, rule)
        # A backbone may say that it takes weights of another number of heads; its own checkpoints have its own.
        own = given.meta.get("num_heads") == backbone.arch_settings["num_heads"]
        heads = None if own else getattr(backbone, "pretrained_num_heads", None)
    check_fit(backbone, tensors, given.meta, source, heads)
    return tensors


def _part(keys: list[str], own: State, given: State) -> tuple[State, str]:
    """One part of the student and of the teacher, all of it or, with the reason, nothing."""
    found: State = {}
    for teacher in (False, True):
        names = [key for key in keys if key.startswith(TEACHER) == teacher]
        if not any(key in given for key in names):  # this network takes the other one's
            others = {key: key.removeprefix(TEACHER) if teacher else TEACHER + key for key in names}
            found |= {key: given[other] for key, other in others.items() if other in given}
        found |= {key: given[key] for key in names if key in given}
    if not found:
        return {}, "not in the file"
    if missing := [key for key in keys if key not in found]:
        return {}, f"incomplete in the file, which lacks {listed(missing)}"
    for key, value in found.items():
        if value.shape != own[key].shape:
            shapes = f"{tuple(value.shape)} in the file, {tuple(own[key].shape)} in the model"
            return {}, f"of another form: {key} is {shapes}"
    return found, ""


def _readers(model: Any) -> dict[str, str]:
    """The neck that each head reads, by part: a centre belongs to the projection whose outputs it averages."""
    heads = getattr(model, "head", None)
    if not isinstance(heads, nn.ModuleDict):
        return {}
    return {f"head.{name}": f"neck.{head.neck}" for name, head in heads.items()}


def _report(
    model: Any,
    given: Offer,
    groups: dict[str, list[str]],
    fresh: dict[str, str],
    source: str,
) -> str:
    taken = [name for name in groups if name not in (*fresh, *NOT_LEARNT)]
    known = {key for keys in groups.values() for key in keys}
    left = sorted({".".join(key.split(".")[:2]) for key in given.state if key not in known})
    begins = "; ".join(f"{name} ({reason})" for name, reason in fresh.items())
    sentences = [
        f"load_from {source}: {given.origin}.",
        f"From the file: {', '.join(taken)}{_networks(model, given)}.",
        *_backbone_remarks(model, given),
        f"Begins anew: {begins}." if begins else "Nothing begins anew but the optimiser.",
        f"Not used: {listed(left)}." if left else "",
        *given.notes,
    ]
    return " ".join(filter(None, sentences))


def _networks(model: Any, given: Offer) -> str:
    if not hasattr(model, "teacher"):
        return ""
    both = given.backbone("") and given.backbone(TEACHER)
    return ", student and teacher each their own" if both else ", the same in student and teacher"


def _backbone_remarks(model: Any, given: Offer) -> list[str]:
    backbone = getattr(model, BACKBONE, None)
    if not isinstance(backbone, VisionTransformer):
        return []
    tensors, own = given.backbone("") or given.backbone(TEACHER), backbone.state_dict()
    remarks = fit_input(backbone, tensors, "")[1]
    size, grid = trained_grid(given.meta), tuple(backbone.patch_resolution)
    if size not in (None, grid):
        sizes = " to ".join(f"{rows} x {cols}" for rows, cols in filter(None, (size, grid)))
        remarks.append(f"Positions were resized from {sizes} patches by the rule {given.rule!r}.")
    if "mask_token" in own and "mask_token" not in tensors:
        remarks.append("The mask token is not in the file and begins anew.")
    if without := [key for key in tensors if key not in own]:
        remarks.append(f"The backbone was built without {listed(without)}.")
    return remarks
