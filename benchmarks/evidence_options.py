"""The config of an arm's pretraining on a data set, and the options that make it so."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evidence_arms import Arm
from evidence_data import DataSet

from mmrel.utils.config import load_config

ROOT = Path(__file__).parents[1]
EPOCHS = (
    "train_cfg.max_epochs",
    "train_cfg.val_interval",
    "param_scheduler.0.warmup",
    "default_hooks.last_layer_freeze.epochs",
    "default_hooks.checkpoint.interval",
)
"""What a recipe counts in epochs, where it has it."""
RATE = "optim_wrapper.optimizer.lr"


def config_of(arm: Arm, options: Mapping[str, Any]) -> Any:
    """An arm's config with options."""
    config = load_config(str(ROOT / arm.config))
    config.merge_from_dict(dict(options))
    return config


def options_of(arm: Arm, dataset: DataSet) -> dict[str, Any]:
    """Of the pretraining: the arm's, and what the data set changes: the network, epochs, the learning rate."""
    options = dict(arm.options)
    factors = {**dict.fromkeys(EPOCHS, dataset.passes), RATE: dataset.rate} if arm.trained else {}
    factors = {name: factor for name, factor in factors.items() if factor != 1}
    if not (factors or dataset.arch):
        return options
    config = config_of(arm, options)
    values = {name: factor * _value(config, name) for name, factor in factors.items()}
    options |= {name: value for name, value in values.items() if value}
    return options | resized(config.model, dataset.arch) if dataset.arch else options


def resized(model: Mapping[str, Any], arch: Mapping[str, int]) -> dict[str, int]:
    """Options that give a model's backbone other sizes, and what reads its tokens their channels.

    Args:
        model: of a config; the part of it with an ``arch`` is the backbone.
        arch: the sizes, all that a ViT's ``arch`` has.
    """
    entries = dict(_entries(model, "model"))
    width = next(value for name, value in entries.items() if name.endswith(".arch.embed_dims"))
    found = {}
    for name, value in entries.items():
        *_, parent, key = name.split(".")
        if parent == "arch" and key in arch:
            found[name] = arch[key]
        elif key == "in_channels" and value == width:
            found[name] = arch["embed_dims"]
    return found


def _entries(part: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    """Names such as ``a.b``, and what stands there."""
    for key, value in part.items():
        if isinstance(value, Mapping):
            yield from _entries(value, f"{name}.{key}")
        else:
            yield f"{name}.{key}", value


def _value(config: Any, name: str) -> Any:
    """An entry of a config, such as ``a.0.b``; 0 if it is not there."""
    for part in name.split("."):
        config = config[int(part)] if part.isdecimal() else config.get(part, {})
    return config or 0
