"""The one way in for checkpoints of a process that mmrel's tools start: mmrel's own reader.

MMEngine and the libraries on it load checkpoints in many places (``load_from``, ``init_cfg``, resume, retrievers, the
hub), each through ``torch.load``, and some with everything allowed. So ``torch.load`` itself is replaced for the
process; a process that does not inherit this (a loader's worker that is spawned) has torch's ``weights_only`` forced.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.fileio.handlers.registry_utils import file_handlers
from mmengine.runner import CheckpointLoader
from torch import Tensor

from mmrel.utils.checkpoint_content import check_weights
from mmrel.utils.checkpoint_file import read_checkpoint, read_stream, trust_checkpoints
from mmrel.utils.plain_files import install_handlers
from mmrel.utils.torch_file import read_storage

FORCE, FORCE_NOT = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_undo: list[Callable[[], Any]] = []


def load_safely(trust: bool = False) -> None:
    """Have every checkpoint of this process read by :func:`mmrel.utils.checkpoint_file.read_checkpoint`.

    Args:
        trust: the user trusts the files that this run loads (``--trust-checkpoint``): they are read with torch's
            unpickler, which executes what is in them. Other files are still read as plain values.
    """
    restore_loading()
    handlers = install_handlers()
    _undo.append(lambda: file_handlers.update(handlers))
    _set_environment({FORCE: None, FORCE_NOT: "1"} if trust else {FORCE: "1", FORCE_NOT: None})
    trust_checkpoints(trust)
    _undo.append(lambda: trust_checkpoints(False))
    if trust:
        return
    schemes, load = CheckpointLoader._schemes, torch.load
    CheckpointLoader._schemes = type(schemes)(
        (prefix, _checked(loader)) for prefix, loader in schemes.items()
    )
    from_bytes = torch.storage._load_from_bytes
    torch.storage._load_from_bytes = functools.wraps(from_bytes)(_load_storage)
    _undo.append(lambda: setattr(torch.storage, "_load_from_bytes", from_bytes))
    torch.load = _load
    _undo.append(lambda: setattr(CheckpointLoader, "_schemes", schemes))
    _undo.append(lambda: setattr(torch, "load", load))


def restore_loading() -> None:
    """Undo :func:`load_safely`."""
    while _undo:
        _undo.pop()()


def _load(f: Any, map_location: Any = None, pickle_module: Any = None, **_: Any) -> Any:
    """Stands for ``torch.load``."""
    name = isinstance(f, str | os.PathLike)
    content = read_checkpoint(Path(f).expanduser()) if name else read_stream(f)
    on_device = isinstance(map_location, str | torch.device) and str(map_location) != "cpu"
    return _moved(content, torch.device(map_location)) if on_device else content


def _load_storage(data: bytes) -> Any:
    """What a pickled tensor calls for its numbers, through ``torch.load``; pickle finds it by the name of torch's.

    Ranks exchange the results of an evaluation so, with tensors in them (mmpretrain's ``Accuracy``).
    """
    values = read_storage(data)
    return torch.storage.TypedStorage(
        wrap_storage=values.untyped_storage(), dtype=values.dtype, _internal=True
    )


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        for key in value:
            value[key] = _moved(value[key], device)
    elif isinstance(value, list):
        value[:] = [_moved(item, device) for item in value]
    elif type(value) is tuple:
        return tuple(_moved(item, device) for item in value)
    return value


def _checked(loader: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(loader)
    def load(filename: str, *args: Any, **kwargs: Any) -> Any:
        return check_weights(loader(filename, *args, **kwargs), filename)

    return load


def _set_environment(values: dict[str, str | None]) -> None:
    before = {name: os.environ.get(name) for name in values}

    def write(wanted: dict[str, str | None]) -> None:
        for name, value in wanted.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

    write(values)
    _undo.append(lambda: write(before))
