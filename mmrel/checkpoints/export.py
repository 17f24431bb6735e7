"""The backbone of a pretraining checkpoint of mmrel as plain tensors ``backbone.*``, for mmdet, mmseg and mmpretrain.

It is read and written as any other file, see :mod:`mmrel.checkpoints.conversion`. What is added here is that nothing
but a pretraining checkpoint of mmrel is taken, and that the network is the one that was asked for.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from mmrel.checkpoints.containers import open_contents
from mmrel.checkpoints.conversion import read_backbone_file, write_backbone
from mmrel.checkpoints.mapping import PRETRAINING_ONLY
from mmrel.utils.checkpoint_content import check_weights
from mmrel.utils.checkpoint_file import read_checkpoint

PREFIXES = {"teacher": "teacher.backbone.", "student": "backbone."}
VIT_KEYS = (
    "pos_embed",
    "patch_embed.projection.weight",
    "layers.0.ffn.layers.0.0.weight",
)


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
    loaded = read_checkpoint(checkpoint)
    check_pretraining(loaded, network, checkpoint)
    contents = open_contents(loaded, str(checkpoint))
    found = read_backbone_file(checkpoint, "mmrel", network, contents=contents)
    exported = replace(
        found,
        state={k: v for k, v in found.state.items() if k not in PRETRAINING_ONLY},
        meta=found.meta | {"source": checkpoint.name, "network": network},
    )
    write_backbone(exported, checkpoint, output)
    return exported.meta | {"num_keys": len(exported.state)}


def check_pretraining(loaded: Any, network: str, path: Path) -> None:
    """Raise ``ValueError`` unless MMEngine wrote this, with a ViT of that network."""
    if not isinstance(loaded, dict) or not isinstance(loaded.get("state_dict"), dict):
        found = sorted(map(str, loaded))[:8] if isinstance(loaded, dict) else type(loaded).__name__
        raise ValueError(
            f"'{path}' has no 'state_dict' (found: {found}). It was not written by MMEngine; give "
            "a checkpoint of mmrel's pretraining, or convert another project's with "
            "tools/convert_checkpoint.py."
        )
    check_weights(loaded, str(path))
    keys, prefix = [str(key) for key in loaded["state_dict"]], PREFIXES[network]
    if not any(key.startswith(prefix) for key in keys):
        prefixes = sorted({key.split(".")[0] + "." for key in keys})[:8]
        others = [name for name, p in PREFIXES.items() if any(k.startswith(p) for k in keys)]
        raise ValueError(
            f"'{path}' has no {network} backbone (no key starts with '{prefix}'; keys start with: "
            f"{', '.join(prefixes) or 'nothing'}). Networks in this file: "
            f"{', '.join(others) or 'none'}; choose one with --network, or give a checkpoint of "
            "mmrel's pretraining."
        )
    if lacking := [key for key in VIT_KEYS if prefix + key not in keys]:
        raise ValueError(
            f"The {network} backbone in '{path}' is not a ViT in mmpretrain's layout: it lacks "
            f"{', '.join(lacking)}. Give a checkpoint of a ViT's pretraining. RelViT's Swin and T2T-ViT need no "
            f"export: name the checkpoint itself in init_cfg, with prefix='{prefix}'."
        )
