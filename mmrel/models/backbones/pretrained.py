"""Weights of a pretrained backbone: fitted to a model where that is safe, refused where it is not.

MMEngine's ``Pretrained`` initialisation loads without strictness and only warns, so that a wrong
prefix or a wrong architecture looks like bad pretraining. The check here turns every misfit into an
error before anything is loaded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.fileio import get_local_path
from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor

from mmrel.models.backbones.misfits import KERNEL, check_fit
from mmrel.ops.patch_kernel import fit_patch_kernel
from mmrel.ops.position import fit_position_embedding, infer_grid
from mmrel.utils.checkpoint_content import check_weights, checked_meta
from mmrel.utils.checkpoint_file import read_checkpoint

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
        checkpoint: path or URL.
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
    state, remarks = fit_input(model, state, source)
    fitted = model.fit_state(state, meta)
    check_fit(model, fitted, meta, source, num_heads)
    model.load_state_dict(fitted)
    print_log(
        f"{source}: all {len(fitted)} tensors of the backbone fit, none is missing", "current"
    )
    for remark in (*remarks, *_position_remarks(model, state, meta)):
        print_log(f"{source}: {remark}", "current")


def fit_input(model: Any, state: State, source: str) -> tuple[State, list[str]]:
    """The tensors with the patch kernel as a ViT takes it, and a sentence on each change.

    Only what begins with pretrained weights calls this, and logs it: a training that is resumed must find its own.

    Args:
        model: any backbone; those that are no ViT take the tensors as they are.
        state: tensors without prefix.
        source: what to call the checkpoint in the error.

    Raises:
        ValueError: the kernel's number of channels cannot be changed to the model's.
    """
    kernel = state.get(KERNEL)
    if not isinstance(model, VisionTransformer) or kernel is None or kernel.ndim != 4:
        return state, []  # a kernel that is missing or none is named by the check of the shapes
    wanted = model.patch_embed.projection
    try:
        kernel, remarks = fit_patch_kernel(kernel, wanted.kernel_size, wanted.in_channels)
    except ValueError as error:
        raise ValueError(
            f"{source!r} does not fit this {type(model).__name__}: {error}."
        ) from error
    if (own := state[KERNEL].shape[-1]) != kernel.shape[-1]:
        remarks.append(f"With patch_size={own}, the model would have the patches of the weights.")
    return state | {KERNEL: kernel}, remarks


def _position_remarks(model: Any, state: State, meta: Mapping[str, Any]) -> list[str]:
    if not isinstance(model, VisionTransformer) or "pos_embed" not in state:
        return []
    grid, length = tuple(model.patch_resolution), state["pos_embed"].shape[1]
    given = trained_grid(meta) or infer_grid(length, grid, model.num_extra_tokens)[0]
    if given == grid:
        return []
    rule = getattr(model, "load_interpolation", None) or model.pos_interpolation
    sizes = " to ".join(f"{rows} x {cols}" for rows, cols in (given, grid))
    return [f"Positions were resized from {sizes} patches by the rule {rule!r}."]


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
        method: how positions are resized, see :mod:`mmrel.ops.position`.
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
