"""Folders of weights as Hugging Face's hub has them: tensors in one file or several, and settings in JSON beside them.

- ``config.json``: what the network is built with, transformers' or timm's
- ``preprocessor_config.json``: how its images are prepared, transformers' alone
- ``model.safetensors``: the weights, or
- ``model.safetensors.index.json``: which of several files, all in the same folder, holds which tensor
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmrel.utils.json_file import read_json
from mmrel.utils.names import checked_name
from mmrel.utils.text import listed

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
INDEX = ".index.json"
WEIGHTS = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
)
"""The names that weights have there, in the order of preference."""
SETTINGS = "hugging_face"
"""Under which key of what was read the settings stand: a dict with ``config`` and ``preprocessor``."""
MAX_LISTED = 4


def weights_in(folder: Path) -> Path:
    """The file of a folder that holds its weights, or names those that do.

    Raises:
        ValueError: there is none.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(
        f"'{folder}' is a folder without weights in it (looked for {', '.join(WEIGHTS)}). Give the path of a "
        "checkpoint file in it, or a folder as Hugging Face's transformers or timm save them."
    )


def is_weights_folder(path: str | Path) -> bool:
    """Whether this is a folder that :func:`weights_in` knows what to take of."""
    return any((Path(path) / name).is_file() for name in WEIGHTS)


def settings_beside(weights: Path) -> dict[str, Any]:
    """What stands beside a file of weights, to be merged into what is in it; empty if it is no config of a model.

    Raises:
        ValueError: it cannot be read as JSON.
    """
    if not (weights.parent / CONFIG).is_file():
        return {}
    config = read_json(weights.parent / CONFIG)
    if not any(isinstance(config.get(key), str) for key in ("model_type", "architecture")):
        return {}
    preprocessor = weights.parent / PREPROCESSOR
    beside = read_json(preprocessor) if preprocessor.is_file() else {}
    return {SETTINGS: {"config": config, "preprocessor": beside}}


def read_shards(index: Path, read: Callable[[Path], Any]) -> dict[str, Any]:
    """The tensors of all files that an index names.

    Args:
        index: the index, ``*.index.json``.
        read: reads one file.

    Raises:
        ValueError: the index is damaged, names a file outside of its folder or one that is not there, or a tensor is
            not in the file that should hold it, or in two.
    """
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ValueError(
            f"'{index}' has no 'weight_map', which tells the file of each tensor. Fetch it again."
        )
    names = {checked_name(name, f"a file in {index.name}") for name in places.values()}
    state: dict[str, Any] = {}
    for name in sorted(names):
        if not (index.parent / name).is_file():
            raise ValueError(
                f"'{index.parent}' lacks {name}, which {index.name} names. Fetch the folder again."
            )
        part = read(index.parent / name)
        if not isinstance(part, Mapping):
            raise ValueError(f"'{index.parent / name}' holds no tensors by name. Fetch it again.")
        _check_shard(index, name, part, places, state)
        state |= part
    return state


def _check_shard(
    index: Path,
    name: str,
    part: Mapping[str, Any],
    places: Mapping[str, str],
    before: Mapping[str, Any],
) -> None:
    missing = [key for key, place in places.items() if place == name and key not in part]
    if missing:
        raise ValueError(
            f"'{index.parent / name}' lacks {listed(missing, MAX_LISTED)}, which {index.name} says it holds. The "
            "download is incomplete; fetch the folder again."
        )
    if twice := sorted(part.keys() & before.keys()):
        raise ValueError(
            f"'{index.parent}' has {listed(twice, MAX_LISTED)} in two of its files. It was put together wrongly; "
            "fetch it again."
        )
