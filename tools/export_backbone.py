"""Write the backbone of a pretraining checkpoint as plain tensors, for mmdet, mmseg and mmpretrain.

    python tools/export_backbone.py work_dirs/sere/epoch_100.pth sere_vit-small-p16.pth

The file holds ``{'state_dict': {'backbone.*': tensor}, 'meta': {...}}`` and loads everywhere with
``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')``. The teacher is taken
unless ``--network student`` is given; the mask token, which only pretraining uses, is left out. The
checkpoint is read with ``weights_only=True``: nothing stored in it is executed.
"""

import argparse
import ast
import os
import sys
import tempfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

PREFIXES = {"teacher": "teacher.backbone.", "student": "backbone."}
PRETRAINING_ONLY = ("mask_token",)
VIT_KEYS = (
    "backbone.pos_embed",
    "backbone.patch_embed.projection.weight",
    "backbone.layers.0.ffn.layers.0.0.weight",
)
State = dict[str, Tensor]


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
    state = select_backbone(loaded["state_dict"], network, checkpoint)
    meta = describe(state, loaded.get("meta") or {}) | {
        "source": checkpoint.name,
        "network": network,
    }
    save_atomically({"state_dict": state, "meta": meta}, output)
    return meta | {"num_keys": len(state)}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint on the CPU without executing anything that is stored in it."""
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no checkpoint at '{path}'. Give a file that pretraining wrote, for instance "
            "work_dirs/NAME/epoch_100.pth."
        )
    try:
        with torch.serialization.safe_globals(allowed_types()):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ValueError(
            f"'{path}' cannot be read as a checkpoint of tensors ({_reason(error)}). It is "
            "damaged, not a checkpoint, or holds other Python objects, which are not loaded for "
            "safety. Give a checkpoint that mmrel's pretraining wrote."
        ) from error
    if not isinstance(loaded, dict) or not isinstance(loaded.get("state_dict"), dict):
        found = sorted(map(str, loaded))[:8] if isinstance(loaded, dict) else type(loaded).__name__
        raise ValueError(
            f"'{path}' has no 'state_dict' (found: {found}). It was not written by MMEngine; give "
            "a checkpoint of mmrel's pretraining."
        )
    return loaded


def _reason(error: Exception) -> str:
    """The one line of torch's long message that says what is wrong."""
    text = str(error).split("WeightsUnpickler error:")[-1].split("Please use")[0].strip(" .\n")
    return text.splitlines()[0] if text else type(error).__name__


def allowed_types() -> list[Any]:
    """Types besides tensors in MMEngine's checkpoints: log buffers and the numbers in them."""
    core = np._core if hasattr(np, "_core") else np.core
    dtypes = {type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")}
    return [
        HistoryBuffer,
        (_history_method, "builtins.getattr"),
        core.multiarray._reconstruct,
        core.multiarray.scalar,
        np.ndarray,
        np.dtype,
        slice,
        *dtypes,
    ]


def _history_method(owner: Any, name: str) -> Any:
    """Stands for ``getattr``, which a log buffer's file uses to name its own statistics."""
    if owner is not HistoryBuffer or name.startswith("_"):
        raise UnpicklingError(f"the file asks for the attribute {name!r} of {owner!r}")
    return getattr(owner, name)


def select_backbone(state: State, network: str, path: Path) -> State:
    """One network's backbone as ``backbone.*``, without what only pretraining uses."""
    prefix = PREFIXES[network]
    found = {
        "backbone." + key.removeprefix(prefix): value.detach().clone()
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
            f"{', '.join(lacking)}. Give a checkpoint of mmrel's pretraining."
        )
    return found


def describe(state: State, meta: dict[str, Any]) -> dict[str, Any]:
    """What a model must be built with to load ``state``; heads come from the config."""
    config = backbone_config(str(meta.get("cfg", "")))
    embed_dims, _, patch_size, _ = state["backbone.patch_embed.projection.weight"].shape
    arch = config.get("arch")
    heads = (arch if isinstance(arch, dict) else _known_arch(arch)).get("num_heads")
    hidden = state["backbone.layers.0.ffn.layers.0.0.weight"].shape[0]
    layers = {key.split(".")[2] for key in state if key.startswith("backbone.layers.")}
    return {
        "arch": arch if isinstance(arch, str) else "custom",
        "embed_dims": embed_dims,
        "num_layers": len(layers),
        "num_heads": heads,
        "feedforward_channels": hidden,
        "patch_size": patch_size,
        "img_size": config.get("img_size"),
        "with_cls_token": "backbone.cls_token" in state,
        "final_norm": "backbone.ln1.weight" in state,
        "epoch": meta.get("epoch"),
        "iter": meta.get("iter"),
    }


def _known_arch(name: Any) -> dict[str, int]:
    from mmpretrain.models.backbones import VisionTransformer

    return VisionTransformer.arch_zoo.get(name, {}) if isinstance(name, str) else {}


def backbone_config(text: str) -> dict[str, Any]:
    """The first ``backbone`` in ``model`` of a config's text, which is parsed, never executed."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "model":
            return _find_backbone(_evaluate(node.value)) or {}
    return {}


def _evaluate(node: ast.expr) -> Any:
    """Literals and ``dict(...)`` calls; anything else becomes ``None``."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dict":
        return {item.arg: _evaluate(item.value) for item in node.keywords if item.arg}
    if isinstance(node, ast.Dict):
        keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
        return dict(zip(keys, map(_evaluate, node.values), strict=True))
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _find_backbone(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("backbone"), dict):
        return value["backbone"]
    found = (_find_backbone(item) for item in value.values())
    return next((item for item in found if item is not None), None)


def save_atomically(content: dict[str, Any], output: Path) -> None:
    """Write a file under another name in the same folder, then rename it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        torch.save(content, temporary)
        temporary.chmod(0o644)
        temporary.replace(output)
    except BaseException:
        temporary.unlink()
        raise


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Write a pretrained backbone as plain tensors 'backbone.*'."
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint of the pretraining")
    parser.add_argument("output", type=Path, help="file to write")
    parser.add_argument(
        "--network",
        choices=sorted(PREFIXES),
        default="teacher",
        help="which of the two networks (default: teacher, which is generally better)",
    )
    options = parser.parse_args(arguments)
    try:
        meta = export_backbone(options.checkpoint, options.output, options.network)
    except (OSError, ValueError) as error:
        print(f"export_backbone: {error}", file=sys.stderr)
        return 1
    print(
        f"{options.output}: {meta['network']} of {meta['source']}, {meta['num_keys']} tensors; "
        f"arch {meta['arch']} ({meta['embed_dims']} wide, {meta['num_layers']} blocks, "
        f"{meta['num_heads'] or 'unknown number of'} heads, patch {meta['patch_size']}, image "
        f"{meta['img_size'] or 'unknown'})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
