"""What the ``config.json`` beside weights tells of the network: transformers' or timm's, read as plain values.

The number of attention heads and the eps of the layer norms are in no tensor; a config that stands beside the weights
tells both, and the tensors must agree with the rest of it. What transformers leaves out of a config, since it is the
default of that class, is put in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmrel.checkpoints.config_text import as_normalization
from mmrel.utils.normalization import Normalization
from mmrel.utils.weights_folder import CONFIG, SETTINGS

VIT = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "image_size": 224,
    "patch_size": 16,
    "layer_norm_eps": 1e-12,
}
DINOV2 = {k: v for k, v in VIT.items() if k != "intermediate_size"} | {
    "patch_size": 14,
    "layer_norm_eps": 1e-6,
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "vit": VIT,
    "vit_mae": VIT,
    "dinov2": DINOV2,
    "dinov2_with_registers": DINOV2,
}
"""The model types of transformers that are plain vision transformers, and what their classes have without a word."""
OTHERS = {
    "beit": "adds relative position biases to its attention",
    "data2vec-vision": "adds relative position biases to its attention",
    "deit": "has a distillation token",
    "dinov3_vit": "rotates queries and keys by their positions",
    "ijepa": "has no class token and no norm in the same places",
    "swin": "attends in windows",
    "swinv2": "attends in windows",
    "clip_vision_model": "has a norm before its blocks",
    "clip": "has a norm before its blocks",
}
"""What others have that mmrel's ViT does not."""
USUAL_EPS = 1e-6
"""Of the layer norms, where a meta says nothing else."""
SIZES = {
    "hidden_size": "embed_dims",
    "num_hidden_layers": "num_layers",
    "intermediate_size": "feedforward_channels",
    "patch_size": "patch_size",
}
SCALE = 255.0
MAX_NUMBER = 2**31
Number = float | int | None


@dataclass(frozen=True)
class Settings:
    """What a config tells; ``None`` where it does not.

    Attributes:
        origin: ``'transformers'`` or ``'timm'``.
        kind: its model type or architecture.
        num_heads: attention heads.
        img_size: side, or (height, width), in pixels of the position embedding.
        norm_eps: of the layer norms.
        normalization: of R, G and B, 0-255 scale.
        sizes: others that the tensors must agree with, under the names of a meta.
    """

    origin: str
    kind: str
    num_heads: int | None
    img_size: int | tuple[int, int] | None
    norm_eps: float | None
    normalization: Normalization | None
    sizes: dict[str, int] = field(default_factory=dict)


def read_settings(beside: Mapping[str, Any]) -> Settings | None:
    """The settings that stood beside weights; ``None`` if there were none.

    Args:
        beside: the top of what was read, see :func:`mmrel.utils.checkpoint_file.read_checkpoint`.

    Raises:
        ValueError: it is the config of a network that mmrel's ViT is not, or has a value of another type.
    """
    found = beside.get(SETTINGS)
    if not isinstance(found, Mapping):
        return None
    config, preprocessor = found["config"], found["preprocessor"]
    if isinstance(config.get("model_type"), str):
        return _of_transformers(config, preprocessor)
    return _of_timm(config)


def _of_transformers(config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Settings:
    kind = config["model_type"]
    if kind not in DEFAULTS:
        reason = f", which {OTHERS[kind]}" if kind in OTHERS else ""
        raise ValueError(
            f"{CONFIG} beside the weights is of transformers' {kind[:40]!r}{reason}; mmrel's ViT is none. Give one of "
            f"{', '.join(DEFAULTS)} (Dinov2Model, ViTModel, ViTMAEModel, and those for a task that hold them)."
        )
    known = DEFAULTS[kind] | {k: v for k, v in config.items() if v is not None}
    _refuse(known, "hidden_act", "gelu", "has an activation other than exact GELU")
    _refuse(known, "qkv_bias", True, "has no biases on queries, keys and values")
    if "dinov2" in kind and "mlp_ratio" in known:
        known["intermediate_size"] = int(_whole(known, "hidden_size") * _number(known, "mlp_ratio"))
    sizes = {ours: _whole(known, name) for name, ours in SIZES.items() if name in known}
    return Settings(
        "transformers",
        kind,
        _whole(known, "num_attention_heads"),
        _size(known, "image_size"),
        _number(known, "layer_norm_eps"),
        _preprocessed(preprocessor),
        sizes,
    )


def _of_timm(config: Mapping[str, Any]) -> Settings:
    given = config.get("model_args")
    arguments = given if isinstance(given, Mapping) else {}
    pretrained = config.get("pretrained_cfg")
    images = pretrained if isinstance(pretrained, Mapping) else config
    heads = _whole(arguments, "num_heads") if "num_heads" in arguments else None
    sizes = {"embed_dims": _whole(config, "num_features")} if "num_features" in config else {}
    normalization = _scaled(images.get("mean"), images.get("std"), 1 / SCALE)
    return Settings("timm", str(config["architecture"]), heads, None, None, normalization, sizes)


def _preprocessed(settings: Mapping[str, Any]) -> Normalization | None:
    """``(rescale_factor * pixel - mean) / std`` of pixels from 0 to 255, as :class:`Normalization` says it."""
    factor = settings.get("rescale_factor", 1 / SCALE) if settings.get("do_rescale", True) else 1
    if settings.get("do_normalize") is False:
        return _scaled([0.0] * 3, [1.0] * 3, factor)
    return _scaled(settings.get("image_mean"), settings.get("image_std"), factor)


def _scaled(mean: Any, std: Any, factor: Any) -> Normalization | None:
    try:
        known = as_normalization(mean, std)
    except OverflowError:  # of a number with hundreds of digits
        return None
    if known is None or not _is_plain(factor):
        return None
    # Published means have three digits on the 0-1 scale: 0.485 is 123.675, not 123.67499999999998.
    pair = ([round(value / factor, 6) for value in part] for part in known)
    return as_normalization(*pair)


def _refuse(config: Mapping[str, Any], name: str, wanted: Any, problem: str) -> None:
    if config.get(name, wanted) != wanted:
        raise ValueError(
            f"{CONFIG} beside the weights says {name}={str(config[name])[:40]!r}: the network {problem}, which mmrel's "
            "ViT does not have. Give another checkpoint."
        )


def _whole(config: Mapping[str, Any], name: str) -> int:
    value = config[name]
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        value = value[0]
    if type(value) is not int or not 0 < value < MAX_NUMBER:
        raise ValueError(
            f"{CONFIG} beside the weights says {name}={str(value)[:40]!r}; wanted a number from 1 on. Correct it, or "
            "fetch the folder again."
        )
    return value


def _number(config: Mapping[str, Any], name: str) -> float:
    value = config[name]
    if not _is_plain(value):
        raise ValueError(
            f"{CONFIG} beside the weights says {name}={str(value)[:40]!r}; wanted a number above 0. Correct it, or "
            "fetch the folder again."
        )
    return float(value)


def _is_plain(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < MAX_NUMBER


def _size(config: Mapping[str, Any], name: str) -> int | tuple[int, int]:
    value = config[name]
    if not isinstance(value, list):
        return _whole(config, name)
    height, width = (_whole({name: side}, name) for side in (value if len(value) == 2 else [0, 0]))
    return height if height == width else (height, width)
