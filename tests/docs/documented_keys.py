"""Whether a key of ``--cfg-options`` means something to a configuration."""

import inspect
from functools import cache
from typing import Any

from documented_blocks import ROOT

RUNNER_KEYS = {"compile"}
"""Top-level settings that mmrel reads and MMEngine's Runner does not."""


@cache
def read_config(name: str) -> Any:
    """A configuration of the repository."""
    from mmrel.utils.config import load_config

    return load_config(str(ROOT / name))


def check_key(config: Any, key: str) -> None:
    """A key of ``--cfg-options`` is in the configuration, or an argument of what it configures.

    Raises:
        AssertionError: neither.
    """
    node: Any = config
    *path, last = key.split(".")
    for depth, name in enumerate(path):
        if depth == 0 and name in RUNNER_KEYS:
            return
        known = (isinstance(node, list | tuple) and name.isdigit()) or name in node
        assert known or (depth == 0 and name in _runner_arguments()), f"{key}: there is no {name}"
        node = node[int(name)] if isinstance(node, list | tuple) else node.get(name, {})
        node = {} if node is None else node
    if last in node:
        return
    if not path:
        assert last in RUNNER_KEYS | _runner_arguments(), f"{key}: there is no such setting"
    else:
        assert last in _arguments(node, path), f"{key}: {'.'.join(path)} takes no {last}"


@cache
def _runner_arguments() -> set[str]:
    from mmengine.runner import Runner

    return set(inspect.signature(Runner.__init__).parameters)


def _arguments(node: dict[str, Any], path: list[str]) -> set[str]:
    """What may stand in a part of a configuration: the arguments of the class that it names, or of its reader."""
    from mmengine.runner import Runner
    from torch.utils.data import DataLoader

    from mmrel.registry import DATASETS, HOOKS, METRICS, MODELS, OPTIM_WRAPPERS
    from mmrel.utils import register_all_modules

    if path[-1] == "randomness":
        return set(inspect.signature(Runner.set_randomness).parameters)
    if path[-1].endswith("_dataloader"):
        return set(inspect.signature(DataLoader.__init__).parameters)
    register_all_modules()
    kind = node.get("type")
    for registry in (MODELS, HOOKS, OPTIM_WRAPPERS, DATASETS, METRICS):
        cls = kind if isinstance(kind, type) else _registered(registry, kind)
        if cls is not None:
            return {
                name
                for base in inspect.getmro(cls)
                for name in inspect.signature(base.__init__).parameters
            }
    return set()


def _registered(registry: Any, name: str | None) -> type | None:
    try:
        return registry.get(str(name))
    except KeyError:  # of mmrel's own names, which are refused where they are unknown
        return None
