"""Hugging Face folders without transformers: the tensors of ``official``, and settings as the hub's have them."""

import json
from pathlib import Path
from typing import Any

from checkpoints import official
from checkpoints.official import DEPTH, HEADS, HIDDEN, WIDTH, State
from safetensors.torch import save_file

CONFIG = {
    "model_type": "vit",
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "intermediate_size": HIDDEN,
    "image_size": 70,
    "patch_size": 14,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
}
DINOV2 = {k: v for k, v in CONFIG.items() if k not in ("intermediate_size", "layer_norm_eps")} | {
    "model_type": "dinov2",
    "mlp_ratio": 2,
}
IMAGES = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
TIMM = {
    "architecture": "vit_tiny_patch16_224",
    "num_features": WIDTH,
    "model_args": {"num_heads": HEADS},
    "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}


def hub_folder(
    path: Path,
    state: State | None = None,
    config: dict[str, Any] = CONFIG,
    images: dict[str, Any] | None = IMAGES,
) -> Path:
    """A folder; without a state, that of a ViTModel."""
    path.mkdir()
    state = official.hf_vit().teacher if state is None else state
    save_file({key: value.contiguous() for key, value in state.items()}, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    if images is not None:
        (path / "preprocessor_config.json").write_text(json.dumps(images))
    return path
