"""Weights of a pretrained backbone: fitted to a model where that is safe, refused where it is not.

MMEngine's ``Pretrained`` initialisation loads without strictness and only warns, so that a wrong
prefix or a wrong architecture looks like bad pretraining. The check here turns every misfit into an
error before anything is loaded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import PretrainedInit
from mmengine.runner import CheckpointLoader
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor

State = dict[str, Tensor]
InitCfg = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
MAX_LISTED = 8


def clean_init_cfg(init_cfg: InitCfg) -> InitCfg:
    """An ``init_cfg`` in which a ``Pretrained`` entry stands alone, since it overwrites all others.

    An entry with ``checkpoint=None`` is removed: one config serves pretrained and random weights.
    """
    entries = [init_cfg] if isinstance(init_cfg, Mapping) else list(init_cfg or ())
    others = [entry for entry in entries if not is_pretrained(entry)]
    for entry in entries:
        if is_pretrained(entry) and entry.get("checkpoint") is not None:
            return dict(entry)
    return others or None


def is_pretrained(init_cfg: InitCfg) -> bool:
    """Whether this is one ``Pretrained`` entry."""
    return isinstance(init_cfg, Mapping) and init_cfg["type"] in ("Pretrained", PretrainedInit)


def read_backbone(checkpoint: str, prefix: str | None) -> tuple[State, dict[str, Any]]:
    """Read the tensors below a prefix, and the file's ``meta``.

    Args:
        checkpoint: path or URL.
        prefix: for instance ``'backbone.'``; ``None`` takes every key.

    Returns:
        The tensors without the prefix, and ``meta`` (empty if there is none).

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: no key has the prefix.
    """
    try:
        loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no backbone checkpoint at {checkpoint!r}. Export one with "
            "tools/export_backbone.py and name it with --cfg-options "
            "model.backbone.init_cfg.checkpoint=PATH, or give checkpoint=None to start from "
            "random weights."
        ) from error
    state = loaded.get("state_dict", loaded)
    head = "" if prefix is None else prefix.rstrip(".") + "."
    backbone = {
        key.removeprefix(head): value for key, value in state.items() if key.startswith(head)
    }
    if not backbone:
        found = sorted({key.split(".")[0] + "." for key in state})[:MAX_LISTED]
        raise ValueError(
            f"No key of {checkpoint!r} starts with {head!r}; its keys start with: "
            f"{', '.join(found) or 'nothing'}. Give one of these as init_cfg.prefix, or export "
            "the backbone with tools/export_backbone.py."
        )
    return backbone, dict(loaded.get("meta") or {})


def check_fit(model: VisionTransformer, state: State, meta: Mapping[str, Any], source: str) -> None:
    """Raise unless ``state`` holds exactly the model's tensors, with their shapes and heads.

    Args:
        model: with ``arch_settings``, as mmpretrain's ViT.
        state: tensors after the model's own fitting (position embedding, unused parts).
        meta: may name ``num_heads``; the weights alone do not show it.
        source: what to call the checkpoint in the error.

    Raises:
        ValueError: with the keys that are missing, unexpected or of another shape.
    """
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
        _heads(model, meta),
    ]
    if text := "; ".join(filter(None, problems)):
        raise ValueError(
            f"The backbone in {source!r} does not fit this {type(model).__name__}: {text}. Set "
            "arch, patch_size, with_cls_token and out_norm to those of the pretraining "
            "(out_norm='none' needs no final norm ln1, with_cls_token=False no class token), or "
            "choose another checkpoint."
        )


def _listed(what: str, keys: list[str]) -> str:
    if not keys:
        return ""
    rest = f" and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
    return f"{len(keys)} key(s) {what}: {', '.join(keys[:MAX_LISTED])}{rest}"


def _heads(model: VisionTransformer, meta: Mapping[str, Any]) -> str:
    given, wanted = meta.get("num_heads"), model.arch_settings["num_heads"]
    if given is None or given == wanted:
        return ""
    return f"it was trained with {given} attention heads, the model has {wanted}"
