"""Weights of a pretrained backbone: fitted to a model where that is safe, refused where it is not.

MMEngine's ``Pretrained`` initialisation loads without strictness and only warns, so that a wrong
prefix or a wrong architecture looks like bad pretraining. The check here turns every misfit into an
error before anything is loaded.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.fileio import get_local_path
from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor

from mmrel.models.backbones.norm_eps import eps_remark
from mmrel.ops.position import fit_position_embedding
from mmrel.registry import FUNCTIONS
from mmrel.utils.checkpoint_content import check_weights, checked_meta
from mmrel.utils.checkpoint_file import read_checkpoint
from mmrel.utils.text import listed
from mmrel.utils.weights_folder import SETTINGS

State = dict[str, Tensor]
InitCfg = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
MAX_LISTED = 8
OPTIONAL_PARTS = ("cls_token", "mask_token", "ln1.weight", "ln1.bias", "ln2.weight", "ln2.bias")
"""What a checkpoint may hold in vain, where a network was built without it."""


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
    """Read the tensors below a prefix, and the file's ``meta``. Nothing in the file is executed.

    Args:
        checkpoint: path or URL; or a Hugging Face folder, as :func:`mmrel.checkpoints.read_backbone_file` takes it.
        prefix: for instance ``'backbone.'``; ``None`` takes every key.

    Returns:
        The tensors without the prefix, and ``meta`` (empty if there is none).

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it cannot be read safely, or no key has the prefix.
    """
    try:
        with get_local_path(checkpoint) as path:
            loaded = check_weights(read_checkpoint(path), checkpoint)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no backbone checkpoint at {checkpoint!r}. Export one with "
            "tools/export_backbone.py, or convert one with tools/convert_checkpoint.py, and name it with "
            "--cfg-options model.backbone.init_cfg.checkpoint=PATH, or give checkpoint=None to start "
            "from random weights."
        ) from error
    if SETTINGS in loaded:  # a Hugging Face folder, whose names are its own
        found = FUNCTIONS.get("mmrel.read_backbone_file")(checkpoint)
        return found.state, found.meta
    state = loaded.get("state_dict", loaded)
    head = "" if prefix is None else prefix.rstrip(".") + "."
    backbone = {
        key.removeprefix(head): value
        for key, value in state.items()
        if key.startswith(head) and isinstance(value, Tensor)
    }
    if not backbone:
        found = sorted({key.split(".")[0] + "." for key in state})[:MAX_LISTED]
        raise ValueError(
            f"No key of {checkpoint!r} starts with {head!r}; its keys start with: "
            f"{', '.join(found) or 'nothing'}. Give one of these as init_cfg.prefix, export the "
            "backbone with tools/export_backbone.py, or convert another project's file with "
            "tools/convert_checkpoint.py."
        )
    return backbone, checked_meta(loaded.get("meta"), repr(checkpoint))


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
            f"The backbone in {source!r} does not fit this {type(model).__name__}: {text}. Set "
            "arch, patch_size, with_cls_token and out_norm to those of the pretraining "
            "(out_norm='none' needs no final norm ln1, with_cls_token=False no class token), or "
            "choose another checkpoint."
        )


def _check_patches(model: Any, state: State, source: str) -> None:
    key = "patch_embed.projection.weight"
    own, given = model.state_dict().get(key), state.get(key)
    if own is None or given is None or not own.ndim == given.ndim == 4:
        return  # a tensor of another rank is one of another shape, and named as such
    if own.shape[2:] == given.shape[2:]:
        return
    raise ValueError(
        f"The backbone in {source!r} does not fit this {type(model).__name__}: 1 key(s) of another shape: {key}. It "
        f"was trained on patches of {_by(given.shape[2:])} pixels, the model has patches of {_by(own.shape[2:])}. Set "
        f"patch_size={given.shape[-1]} everywhere in the config, or choose another checkpoint."
    )


def _by(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))


def load_init_cfg(model: Any, num_heads: int | None = None) -> bool:
    """Load what a backbone's ``init_cfg`` names, if it is pretrained weights; every tensor must fit.

    Args:
        model: a backbone with ``init_cfg`` and what :func:`load_fitted` needs.
        num_heads: attention heads that the weights must have been trained with; ``None``: the model's.

    Returns:
        Whether there was something to load.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: it does not fit.
    """
    if not is_pretrained(model.init_cfg):
        return False
    source = model.init_cfg["checkpoint"]
    state, meta = read_backbone(source, model.init_cfg.get("prefix"))
    load_fitted(model, state, meta, source, num_heads)
    return True


def load_fitted(
    model: Any,
    state: State,
    meta: Mapping[str, Any],
    source: str,
    num_heads: int | None = None,
) -> None:
    """Fit a checkpoint's tensors to a backbone, check that it is whole, and load it.

    Args:
        model: ``mmrel.ViT``, ``mmrel.DenseViT``, or another one with ``fit_state(state, meta)``.
        state: tensors under mmpretrain's names, without prefix.
        meta: may name ``num_heads``, ``img_size`` with ``patch_size``, and ``pos_interpolation``.
        source: what to call the checkpoint in the error.
        num_heads: attention heads that the weights must have been trained with; ``None``: the model's.

    Raises:
        ValueError: a tensor is missing, unexpected or of another shape, or the number of heads differs.
    """
    fitted = model.fit_state(state, meta)
    check_fit(model, fitted, meta, source, num_heads)
    model.load_state_dict(fitted)
    for remark in eps_remark(model, meta):
        print_log(f"{source}: {remark}", "current", logging.WARNING)
    print_log(
        f"{source}: all {len(fitted)} tensors of the backbone fit, none is missing", "current"
    )


def fit_tensors(
    model: VisionTransformer, state: State, meta: Mapping[str, Any] | None, method: str
) -> State:
    """A checkpoint's tensors as a network takes them.

    What the network was built without (class token, final norm, mask token) is left out, a mask token that only the
    network has stays its own, and the positions come to its grid.

    Args:
        model: mmpretrain's ViT or a subclass.
        state: tensors without prefix.
        meta: names ``img_size`` and ``patch_size``, from which the grid of the positions follows; without them it is
            the model's or a square.
        method: how positions are resized, ``'dino'`` or ``'size'``.
    """
    own = model.state_dict()
    fitted = {key: value for key, value in state.items() if key in own or key not in OPTIONAL_PARTS}
    if "mask_token" in own:
        fitted.setdefault("mask_token", own["mask_token"])
    if "pos_embed" in fitted and fitted["pos_embed"].ndim == 3:
        fitted["pos_embed"] = fit_position_embedding(
            fitted["pos_embed"],
            model.patch_resolution,
            model.num_extra_tokens,
            method,
            trained_grid(meta or {}),
        )
    return fitted


def trained_grid(meta: Mapping[str, Any]) -> tuple[int, int] | None:
    """(rows, cols) that the positions were trained on, if the meta tells."""
    size, patch = meta.get("img_size"), meta.get("patch_size")
    if size is None or patch is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    return height // patch, width // patch


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
