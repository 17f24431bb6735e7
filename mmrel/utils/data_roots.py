"""The keys ``data_root`` and ``val_root`` of a configuration: changed in one place, for everything that uses them.

In every pretraining recipe ``data_root`` is the folder of the images itself. Recipes on labelled data have ``val_root``
beside it, the labelled images that k-NN and the held-out loss are measured on.
"""

import glob
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmrel.utils.errors import UsageError

VALIDATION = ("val_dataloader", "val_evaluator", "val_cfg")


def set_roots(config: Any, options: dict[str, Any]) -> None:
    """Apply ``data_root`` and ``val_root`` of ``--cfg-options``.

    A recipe that is given images of one's own, and none to measure on, is not measured while it trains.

    Args:
        config (mmengine.Config): changed in place.
        options: what ``--cfg-options`` gave.

    Raises:
        UsageError: as :func:`set_data_root`; or ``data_root`` is a folder above the images, as it once was.
    """
    has_val = isinstance(config.get("val_root"), str)
    if "data_root" in options:
        root = options["data_root"]
        for one in _listed(root) if has_val else ():
            _refuse_folder_above(config, one)
        moved = str(config.get("data_root")).rstrip("/") != str(root).rstrip("/")
        set_data_root(config, root)
        if has_val and moved and "val_root" not in options:
            leave_out_measuring(config)
    if "val_root" in options:
        set_data_root(config, options["val_root"], "val_root")


def set_data_root(config: Any, root: str | Sequence[str], key: str = "data_root") -> None:
    """Replace the top-level ``data_root`` wherever its value went.

    A configuration file that says ``data_root = 'data/x'`` and ``ann_file = data_root + '/a.json'``
    holds two finished strings, so that a new ``data_root`` alone would change nothing. Every string
    that equals the old value, or continues it with a slash, is rewritten.

    Args:
        config (mmengine.Config): The configuration, changed in place.
        root (str or list of str): The new value; a folder with files in it, a list of images, an archive, an
            address, or several of these.
        key (str): ``data_root`` or ``val_root``.

    Raises:
        UsageError: If the configuration has no such key, or what was given is missing or empty.
    """
    old = config.get(key)
    if not isinstance(old, str) or not old.rstrip("/"):
        raise UsageError(
            f"{key}={root} was given, but the configuration has no top-level {key} that "
            "it could replace. Set the datasets' own keys instead, for instance "
            f"--cfg-options train_dataloader.dataset.data_root={root}."
        )
    roots = _listed(root)
    for one in roots:
        _check_root(one, key)
    slashed = old.rstrip("/") + "/"

    def replaced(value: str) -> Any:
        if not f"{value}/".startswith(slashed):
            return value
        found = [one.rstrip("/") + value[len(slashed) - 1 :] for one in roots]
        return found if isinstance(root, list | tuple) else found[0]

    for name in list(config):
        config[name] = _map_strings(config[name], replaced)


def _listed(root: Any) -> list[str]:
    """One root or several, as texts; a folder of digits arrives as a number."""
    return [str(one) for one in root] if isinstance(root, list | tuple) else [str(root)]


def _check_root(root: str, key: str) -> None:
    """Refuse what is not there; what it holds is looked at when the data set is built."""
    path = Path(root).expanduser()
    inside_file = any(parent.is_file() for parent in path.parents)  # of an archive
    if "://" in root or path.is_file() or inside_file:
        return
    if not path.is_dir() and not (glob.has_magic(root) and _fits(str(path))):
        raise UsageError(
            f"{key}={root} is not a folder (looked for {path.absolute()}), nor a file of another kind that is read. "
            "Give a folder that holds the images, nested as you like; or a text file that lists them, a zip or tar "
            "archive, or Parquet or Arrow files."
        )
    if path.is_dir() and not any(found.is_file() for found in path.rglob("*")):
        raise UsageError(
            f"{key}={root} holds no files (looked in {path.absolute()} and below). "
            "Give a folder that holds the images, nested as you like."
        )


def _fits(pattern: str) -> bool:
    """Whether there are files that a pattern fits."""
    return bool(glob.glob(pattern, recursive=True))  # noqa: PTH207


def leave_out_measuring(config: Any) -> None:
    """Train without k-NN, held-out loss and the best checkpoint by them, and say so."""
    hooks = config.get("default_hooks") or {}
    left_out = ["k-NN"] if hooks.get("knn") else []
    left_out += ["the held-out loss"] if config.get("val_dataloader") else []
    if not left_out:
        return
    if "knn" in hooks:
        hooks["knn"] = None
    for name in VALIDATION:
        config[name] = None
    if hooks.get("checkpoint"):
        hooks["checkpoint"]["save_best"] = None
    if os.environ.get("RANK", "0") == "0":
        print(
            f"Without {' and '.join(left_out)}: data_root was given and val_root was not. "
            "val_root=FOLDER, with labelled images in one subfolder per class, has them measured.",
            file=sys.stderr,
        )


def _refuse_folder_above(config: Any, root: str) -> None:
    """An older mmrel meant the folder above that of the training images."""
    part = Path(str(config["data_root"])).name
    if "://" in root or not (Path(root) / part).is_dir():
        return
    val = Path(str(config["val_root"])).name
    raise UsageError(
        f"data_root={root} has a folder {part!r}. data_root is the folder of the training images itself: give "
        f"--cfg-options data_root={Path(root) / part} val_root={Path(root) / val}. (To train on everything below "
        f"{root}, set train_dataloader.dataset.data_root={root} and default_hooks.knn=None.)"
    )


def _map_strings(node: Any, change: Callable[[str], Any]) -> Any:
    if isinstance(node, str):
        return change(node)
    if isinstance(node, dict):
        for name in list(node):
            node[name] = _map_strings(node[name], change)
        return node
    if isinstance(node, list | tuple):
        return type(node)(_map_strings(child, change) for child in node)
    return node
