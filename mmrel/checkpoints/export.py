"""The backbone of a pretraining checkpoint as plain tensors ``backbone.*``, for mmdet, mmseg and mmpretrain."""

from pathlib import Path
from typing import Any

import torch

from mmrel.checkpoints.describe import check_shapes, describe
from mmrel.utils.checkpoint_content import check_weights
from mmrel.utils.checkpoint_file import read_checkpoint
from mmrel.utils.files import save_atomically

PREFIXES = {"teacher": "teacher.backbone.", "student": "backbone."}
PRETRAINING_ONLY = ("mask_token",)
VIT_KEYS = (
    "pos_embed",
    "patch_embed.projection.weight",
    "layers.0.ffn.layers.0.0.weight",
)
State = dict[str, torch.Tensor]


def export_backbone(checkpoint: Path, output: Path, network: str = "teacher") -> dict[str, Any]:
    """Write one network's backbone.

    Args:
        checkpoint: a checkpoint of mmrel's pretraining.
        output: file to write; it appears complete or not at all.
        network: ``'teacher'`` or ``'student'``.

    Returns:
        The ``meta`` that was written, with ``num_keys`` added.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: not a pretraining checkpoint of mmrel, or one without that network.
    """
    loaded = read_pretraining(checkpoint)
    state = select_backbone(loaded["state_dict"], network, checkpoint)
    check_shapes(state, str(checkpoint))
    meta = describe(state, loaded.get("meta") or {}) | {
        "source": checkpoint.name,
        "network": network,
    }
    prefixed = {f"backbone.{key}": value for key, value in state.items()}
    save_atomically({"state_dict": prefixed, "meta": meta}, output)
    return meta | {"num_keys": len(state)}


def read_pretraining(path: Path) -> dict[str, Any]:
    """Load a checkpoint that MMEngine wrote."""
    loaded = read_checkpoint(path)
    if not isinstance(loaded, dict) or not isinstance(loaded.get("state_dict"), dict):
        found = sorted(map(str, loaded))[:8] if isinstance(loaded, dict) else type(loaded).__name__
        raise ValueError(
            f"'{path}' has no 'state_dict' (found: {found}). It was not written by MMEngine; give "
            "a checkpoint of mmrel's pretraining, or convert another project's with "
            "tools/convert_checkpoint.py."
        )
    check_weights(loaded, str(path))
    return loaded


def select_backbone(state: State, network: str, path: Path) -> State:
    """One network's backbone without prefix, and without what only pretraining uses."""
    prefix = PREFIXES[network]
    found = {
        key.removeprefix(prefix): value.detach().clone()
        for key, value in state.items()
        if key.startswith(prefix) and key.removeprefix(prefix) not in PRETRAINING_ONLY
    }
    if not found:
        prefixes = sorted({key.split(".")[0] + "." for key in state})[:8]
        others = [name for name, p in PREFIXES.items() if any(k.startswith(p) for k in state)]
        raise ValueError(
            f"'{path}' has no {network} backbone (no key starts with '{prefix}'; keys start with: "
            f"{', '.join(prefixes) or 'nothing'}). Networks in this file: "
            f"{', '.join(others) or 'none'}; choose one with --network, or give a checkpoint of "
            "mmrel's pretraining."
        )
    if lacking := [key for key in VIT_KEYS if key not in found]:
        raise ValueError(
            f"The {network} backbone in '{path}' is not a ViT in mmpretrain's layout: it lacks "
            f"{', '.join(lacking)}. Give a checkpoint of a ViT's pretraining. RelViT's Swin and T2T-ViT need no "
            f"export: name the checkpoint itself in init_cfg, with prefix='{prefix}'."
        )
    return found
