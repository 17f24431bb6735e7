"""A backbone as a folder that Hugging Face's transformers opens with ``AutoModel.from_pretrained``.

A network with layer scale becomes a ``Dinov2Model`` or, with register tokens, a ``Dinov2WithRegistersModel``, one
without layer scale a ``ViTModel``. The former's pooled output is the
class token after the final norm; the latter has a pooling layer, which here passes the class token on as it is.
"""

import json
import shutil
import uuid
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import torch

from mmrel.checkpoints.conversion import Backbone, read_backbone_file, to_official
from mmrel.checkpoints.hugging_face.settings import SCALE, USUAL_EPS
from mmrel.checkpoints.rules import State
from mmrel.utils.files import publish, write_text_atomically
from mmrel.utils.normalization import IMAGENET
from mmrel.utils.safetensors_file import write_safetensors
from mmrel.utils.weights_folder import CONFIG, PREPROCESSOR, WEIGHTS

RESIZE, CROP = 256, 224
"""Of the k-NN protocol, which DINO and DINOv2 evaluate with."""
BICUBIC = 3


def convert_to_folder(path: str | Path, output: str | Path, **options: Any) -> Backbone:
    """Write a recognised file's backbone as a Hugging Face folder: config, weights and how images are prepared.

    Args:
        path: the file, or a folder of the same kind.
        output: the folder to write; it appears complete or not at all.
        **options: as for :func:`mmrel.checkpoints.read_backbone_file`.

    Returns:
        What was written, with notes on where transformers' results differ.

    Raises:
        ValueError: the folder exists and is not empty, the network has a part that transformers' classes lack, or the
            package safetensors is not installed; otherwise as :func:`mmrel.checkpoints.read_backbone_file`.
    """
    folder = Path(output)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"'{folder}' exists. Give the name of a new folder, or of an empty one.")
    backbone = read_backbone_file(path, **options)
    state, config = to_transformers(backbone)
    preprocessor = preprocessor_config(backbone.meta)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        write_safetensors(state, unfinished / WEIGHTS[0])
        for name, content in ((CONFIG, config), (PREPROCESSOR, preprocessor)):
            write_text_atomically(unfinished / name, json.dumps(content, indent=2) + "\n")
        publish(unfinished, folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    backbone.notes.extend(_notes(backbone.meta, config))
    return backbone


def to_transformers(backbone: Backbone) -> tuple[State, dict[str, Any]]:
    """The tensors under transformers' names, and the ``config.json`` of the class that they are for.

    Raises:
        ValueError: the network has no class token, no final norm or no positions, or these lie on a grid that is no
            square, which transformers does not resize.
    """
    meta = backbone.meta
    _check(meta, backbone.state)
    scaled = meta["layer_scale"]
    state, _ = to_official(backbone.state, "hf-dinov2" if scaled else "hf-vit")
    config = _shared_config(meta, backbone.state)
    width = meta["embed_dims"]
    if scaled:
        state.setdefault("embeddings.mask_token", torch.zeros(1, width))
        return state, config | _dinov2_config(meta)
    state.pop("embeddings.mask_token", None)
    state |= {"pooler.dense.weight": torch.eye(width), "pooler.dense.bias": torch.zeros(width)}
    return state, config | {
        "architectures": ["ViTModel"],
        "model_type": "vit",
        "intermediate_size": meta["feedforward_channels"],
        "encoder_stride": meta["patch_size"],
        "pooler_output_size": width,
        "pooler_act": "linear",
    }


def preprocessor_config(meta: Mapping[str, Any]) -> dict[str, Any]:
    """How images are prepared: as for mmrel's k-NN, short side 8/7 of the crop, bicubic, central crop, normalised."""
    crop = CROP if meta["layer_scale"] and CROP % meta["patch_size"] == 0 else meta["img_size"]
    mean, std = (
        [round(value / SCALE, 9) for value in meta[name] or getattr(IMAGENET, name)]
        for name in ("mean", "std")
    )
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": round(crop * RESIZE / CROP)},
        "resample": BICUBIC,
        "do_center_crop": True,
        "crop_size": {"height": crop, "width": crop},
        "do_rescale": True,
        "rescale_factor": 1 / SCALE,
        "do_normalize": True,
        "image_mean": mean,
        "image_std": std,
    }


def _shared_config(meta: Mapping[str, Any], state: State) -> dict[str, Any]:
    return {
        "hidden_size": meta["embed_dims"],
        "num_hidden_layers": meta["num_layers"],
        "num_attention_heads": meta["num_heads"],
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "layer_norm_eps": meta.get("norm_eps", USUAL_EPS),
        "image_size": meta["img_size"],
        "patch_size": meta["patch_size"],
        "num_channels": state["patch_embed.projection.weight"].shape[1],
        "qkv_bias": True,
        "torch_dtype": "float32",
    }


def _dinov2_config(meta: Mapping[str, Any]) -> dict[str, Any]:
    ratio, rest = divmod(meta["feedforward_channels"], meta["embed_dims"])
    if rest:
        raise ValueError(
            f"The MLP is {meta['feedforward_channels']} wide, no whole multiple of the network's {meta['embed_dims']}, "
            "which a Dinov2Model of transformers cannot be. Convert it --to timm instead."
        )
    kinds = {"architectures": ["Dinov2Model"], "model_type": "dinov2"}
    if meta["num_registers"]:
        kinds = {
            "architectures": ["Dinov2WithRegistersModel"],
            "model_type": "dinov2_with_registers",
            "num_register_tokens": meta["num_registers"],
        }
    return {
        **kinds,
        "mlp_ratio": ratio,
        "layerscale_value": 1.0,
        "drop_path_rate": 0.0,
        "use_swiglu_ffn": False,
        "use_mask_token": True,
        "apply_layernorm": True,
        "reshape_hidden_states": True,
    }


def _check(meta: Mapping[str, Any], state: State) -> None:
    lacks = {
        "class token": meta["with_cls_token"],
        "final norm": meta["final_norm"],
        "positions": meta["use_pos_embed"],
    }
    side = isqrt(state["pos_embed"].shape[1])
    problems = [f"no {part}" for part, there in lacks.items() if not there]
    if not isinstance(meta["img_size"], int) or side * side + 1 != state["pos_embed"].shape[1]:
        problems.append("positions on a grid that is no square")
    if "ln2.weight" in state:
        problems.append("a norm of the mean patch token")
    if meta["num_registers"] and not meta["layer_scale"]:
        problems.append("register tokens without layer scale")
    if problems:
        raise ValueError(
            f"The network has {', '.join(problems)}, which transformers' ViTModel and Dinov2Model do not provide for. "
            "Write another form: a .pth file of mmrel's, or --to timm."
        )


def _notes(meta: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    size, notes = meta["img_size"], []
    own, theirs = meta["pos_interpolation"], "antialias" if meta["num_registers"] else "size"
    if own not in (None, theirs):
        notes.append(
            f"Positions: transformers resizes them by the rule {theirs!r}, these weights' own code by {own!r}. "
            f"Features are equal at {size} x {size} pixels and differ a little at other sizes."
        )
    if config["model_type"] == "vit":
        notes.append(
            "A ViTModel takes other sizes with model(images, interpolate_pos_encoding=True) alone. Its pooled output "
            "is the class token."
        )
    if meta["mean"] is None:
        notes.append(
            "The file does not tell mean and deviation of its images; ImageNet's were written. --mean and --std say "
            "otherwise."
        )
    return notes
