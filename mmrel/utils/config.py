"""Reading and adjusting configurations for the command line tools.

Whatever is wrong with the files and options that the user gave is found here, before a model is
built, and told as a :class:`~mmrel.utils.errors.UsageError`.
"""

import difflib
import tempfile
import traceback
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmrel.utils.errors import UsageError
from mmrel.utils.hosts import HOSTS, STOCK_HOOKS, missing_host
from mmrel.utils.plain_files import plain_files
from mmrel.utils.plain_tree import check_depth
from mmrel.utils.weights_folder import is_weights_folder, weights_in

LOADER_TIMEOUT = 600
"""Seconds that a batch may take before a run ends and names the files that the loader's workers were at."""


def load_config(path: str, options: dict[str, Any] | None = None) -> Any:
    """Read a configuration file.

    Args:
        path (str): A ``.py`` file, which is executed, or a ``.yml``, ``.yaml`` or ``.json`` file, which holds plain
            values.
        options (dict, optional): What ``--cfg-options`` gave. Only ``data_root`` is applied here, so
            that other options, merged later, win over it.

    Returns:
        mmengine.Config: The configuration with its bases merged.

    Raises:
        UsageError: If there is no such file, if it cannot be read, if it needs a package that is not installed, or
            if ``data_root`` is of no use.
    """
    from mmengine.config import Config

    if not Path(path).is_file():
        raise UsageError(_no_such_config(path))
    try:
        with plain_files():
            config = Config.fromfile(path)
        plain = config.to_dict()
        check_depth(plain)
        hosts = hosts_named_in(plain)
    except ModuleNotFoundError as error:
        missing = [host.module for host in HOSTS if find_spec(host.module) is None]
        if not missing:
            raise
        raise UsageError(f"{path} cannot be read. {missing_host(missing[0])}") from error
    except ImportError:  # of a module of the user's own, whose traceback is wanted
        raise
    except Exception as error:  # whatever a file provokes that is no configuration
        raise UsageError(_unreadable(path, error)) from error
    for module in hosts:
        if find_spec(module) is None:
            raise UsageError(f"{path} cannot be used. {missing_host(module)}")
    if options and "data_root" in options:
        set_data_root(config, str(options["data_root"]))
    return config


def _unreadable(path: str, error: Exception) -> str:
    """What was wrong and in which line of which file."""
    text = str(error)[:500]
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == str(Path(path).absolute()):
            place = f" in line {frame.lineno}"
    kind = "it is nested too deeply" if isinstance(error, RecursionError) else type(error).__name__
    return (
        f"{path} cannot be read as a configuration ({kind}{': ' if text else ''}{text}{place}). Correct the file, "
        "or one that its _base_ names."
    )


def hosts_named_in(config: Any) -> set[str]:
    """Return the optional host packages that a configuration builds something from.

    They stand in ``default_scope``, in a ``_scope_`` mark and before the point of a ``type``.
    """
    optional = {host.module for host in HOSTS if not host.required}
    found: set[str] = set()
    for name, value in _items(config):
        if name in ("default_scope", "_scope_", "type") and isinstance(value, str):
            found.add(value.partition(".")[0])
    return found & optional


def set_data_root(config: Any, root: str) -> None:
    """Replace the top-level ``data_root`` wherever its value went.

    A configuration file that says ``data_root = 'data/x'`` and ``ann_file = data_root + '/a.json'``
    holds two finished strings, so that a new ``data_root`` alone would change nothing. Every string
    that equals the old value, or continues it with a slash, is rewritten.

    Args:
        config (mmengine.Config): The configuration, changed in place.
        root (str): The new value; a folder with files in it.

    Raises:
        UsageError: If the configuration has no ``data_root``, or the folder is missing or empty.
    """
    old = config.get("data_root")
    if not isinstance(old, str) or not old.rstrip("/"):
        raise UsageError(
            f"data_root={root} was given, but the configuration has no top-level data_root that "
            "it could replace. Set the datasets' own keys instead, for instance "
            f"--cfg-options train_dataloader.dataset.data_root={root}."
        )
    if "://" not in root and not Path(root).is_dir():
        raise UsageError(
            f"data_root={root} is not a folder (looked for {Path(root).absolute()}). "
            "Give a folder that holds the images, nested as you like."
        )
    if "://" not in root and not any(path.is_file() for path in Path(root).rglob("*")):
        raise UsageError(
            f"data_root={root} holds no files (looked in {Path(root).absolute()} and below). "
            "Give a folder that holds the images, nested as you like."
        )
    slashed = old.rstrip("/") + "/"

    def replaced(value: str) -> str:
        if not f"{value}/".startswith(slashed):
            return value
        return root.rstrip("/") + value[len(slashed) - 1 :]

    for name in list(config):
        config[name] = _map_strings(config[name], replaced)


def merge_options(config: Any, options: dict[str, Any] | None) -> None:
    """Merge ``--cfg-options``; without loader processes, none can be persistent or late.

    Raises:
        UsageError: If an option does not fit the configuration, or switches off a hook that it does not have.
    """
    _check_hooks_switched_off(config, options or {})
    for key, value in (options or {}).items():
        try:
            config.merge_from_dict({key: value})
        except Exception as error:  # MMEngine has no error of its own for it
            raise UsageError(
                f"The option {key}={str(value)[:200]} cannot be merged into {config.filename}: "
                f"{type(error).__name__}: {str(error)[:300]}. Give the key with dots as the configuration nests it, "
                "such as train_dataloader.batch_size=32."
            ) from error
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = config.get(name)
        if loader is not None and not isinstance(loader, dict):
            raise UsageError(
                f"{name} is {str(loader)[:100]!r}; wanted a dict of its settings, or None."
            )
        if loader is not None and loader.get("num_workers", 0) == 0:
            loader["persistent_workers"] = False
            loader.pop("timeout", None)


def _check_hooks_switched_off(config: Any, options: dict[str, Any]) -> None:
    known = {*STOCK_HOOKS, *(config.get("default_hooks") or {})}
    for option, value in options.items():
        field, _, name = option.partition(".")
        if field == "default_hooks" and value is None and name not in known and "." not in name:
            raise UsageError(
                f"{option}=None switches off a hook that this configuration does not have. Its default_hooks are "
                f"{', '.join(sorted(known))}; name one of these."
            )


def prepare_work_dir(config: Any) -> None:
    """Make the work dir and prove that it can be written, before anything costly starts.

    Raises:
        UsageError: If it cannot.
    """
    folder = Path(config.work_dir).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise UsageError(
            f"The work dir {folder} cannot be written: {error.strerror or error}. Logs and "
            "checkpoints go there; give a folder that you may write to with --work-dir."
        ) from error


def check_load_from(config: Any) -> None:
    """Make sure that the checkpoint which a run continues or a test measures exists; of a folder, name the file.

    Raises:
        UsageError: If it is a local file and absent.
    """
    path = config.get("load_from")
    if isinstance(path, str) and is_weights_folder(path):
        # MMEngine takes files alone. The settings beside this one are found again.
        config.load_from = path = str(weights_in(Path(path)))
    if _missing(path):
        raise UsageError(
            f"The checkpoint {path!r} does not exist (looked for {Path(path).absolute()}). "
            "Checkpoints of a run are in its work dir, and `last_checkpoint` there names the latest."
        )


def check_pretrained(config: Any) -> None:
    """Make sure that the backbone's pretrained weights exist. Testing does not read them.

    Raises:
        UsageError: If they are in a local file and it is absent.
    """
    for cfg in dicts_in(config.get("model")):
        path = cfg.get("checkpoint")
        if cfg.get("type") in ("Pretrained", "PretrainedInit") and _missing(path):
            raise UsageError(
                f"init_cfg.checkpoint: {path!r} does not exist (looked for "
                f"{Path(str(path)).absolute()}). tools/export_backbone.py writes the backbone of a "
                "pretraining run; give that file with --cfg-options "
                "model.backbone.init_cfg.checkpoint=FILE, or None for random weights."
            )


def _missing(path: Any) -> bool:
    return (
        isinstance(path, str)
        and "://" not in path
        and not (Path(path).is_file() or is_weights_folder(path))
    )


def _no_such_config(path: str) -> str:
    shipped = Path(__file__).resolve().parents[2] / "configs"
    names = {file.name: file for file in shipped.rglob("*.py") if "_base_" not in file.parts}
    close = difflib.get_close_matches(Path(path).name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {names[close[0]].relative_to(shipped.parent)}?" if close else ""
    return (
        f"The configuration {path!r} does not exist (looked for {Path(path).absolute()}).{hint} "
        "Shipped recipes are under configs/."
    )


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    for cfg in dicts_in(node):
        yield from cfg.items()


def dicts_in(node: Any) -> Iterator[dict[str, Any]]:
    """A configuration's part and all dicts that it holds, in lists too."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from dicts_in(child)


def _map_strings(node: Any, change: Callable[[str], str]) -> Any:
    if isinstance(node, str):
        return change(node)
    if isinstance(node, dict):
        for name in list(node):
            node[name] = _map_strings(node[name], change)
        return node
    if isinstance(node, list | tuple):
        return type(node)(_map_strings(child, change) for child in node)
    return node
