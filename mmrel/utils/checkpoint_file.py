"""Reading checkpoint files that others wrote, without executing what is in them.

A ``.pth`` file is a pickle, which can name any function to be called on loading. Here it is read with a closed list of
harmless types: what the official training checkpoints of the DINO family, of MMEngine and of Lightning hold beside
tensors (``plain_names``). Anything else is refused by name, and so is what is larger inside than outside, deeper or
more often repeated than a checkpoint is. There is no other way in, but for :func:`trust_checkpoints`.
"""

from pathlib import Path
from typing import IO, Any

import torch

from mmrel.utils.safetensors_file import SUFFIX, read_safetensors
from mmrel.utils.torch_file import read_torch_file
from mmrel.utils.weights_folder import (
    INDEX,
    SETTINGS,
    read_shards,
    settings_beside,
    weights_in,
)

_TRUST = False


def trust_checkpoints(trust: bool = True) -> None:
    """Let this process read files with torch's own unpickler, which executes what they say.

    Only for a user who asked for it by name (``--trust-checkpoint``).
    """
    global _TRUST
    _TRUST = trust


def trusted() -> bool:
    """Whether :func:`trust_checkpoints` was called."""
    return _TRUST


def read_checkpoint(path: str | Path) -> Any:
    """Load a file on the CPU; nothing that is stored in it is executed.

    Args:
        path: a file of ``torch.save``, of either format, or ``.safetensors`` (needs the package safetensors); a folder
            as Hugging Face's hub has them, or its index of several files.

    Returns:
        What was saved: usually nested dicts of tensors. Of weights with a ``config.json`` beside them, also that, under
        ``'hugging_face'``, see :mod:`mmrel.utils.weights_folder`.

    Raises:
        OSError: there is no such file, or it must not be read.
        ValueError: it is empty, truncated, damaged, or holds objects that are not on the list.
    """
    path = Path(path)
    if path.is_dir():
        path = weights_in(path)
    if path.name.endswith(INDEX):
        _check_file(path)
        content = {"state_dict": read_shards(path, _read_file)}
    else:
        content = _read_file(path)
    if isinstance(content, dict):
        content.pop(SETTINGS, None)  # which only a folder has
        # What MMEngine or mmrel wrote has a meta, which tells all that a config would.
        content |= {} if "meta" in content else settings_beside(path)
    return content


def _read_file(path: Path) -> Any:
    _check_file(path)
    if path.suffix == SUFFIX:
        return read_safetensors(path)
    with path.open("rb") as file:
        return read_stream(file, f"'{path}'")


def read_stream(file: IO[bytes], name: str = "A checkpoint") -> Any:
    """As :func:`read_checkpoint`, from an open file of ``torch.save``, which is called ``name`` in errors."""
    try:
        if _TRUST:
            return torch.load(file, map_location="cpu", weights_only=False)
        return read_torch_file(file)
    except Exception as error:  # whatever a damaged or crafted file provokes
        raise ValueError(
            f"{name} cannot be read as a checkpoint of tensors ({_reason(error)}). It is damaged, not a "
            "checkpoint, or holds other Python objects, which are not loaded for safety. Fetch it again, or, where "
            "you trust its writer, save its tensors alone in a dict there."
        ) from error


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no checkpoint at '{path}'. Give the path of a file, for instance "
            "work_dirs/NAME/epoch_100.pth."
        )
    with path.open("rb") as file:  # where it must not be read, the system's own error says so
        if not file.read(1):
            raise ValueError(
                f"'{path}' is empty: its download or its writing failed. Fetch it again."
            )


def _reason(error: Exception) -> str:
    """The first line of a message, or what kind of error it is where it has none or says little."""
    told = str(error).partition("\n")[0].strip(" .'\"")[:300]
    return told if len(told) > 12 else f"{type(error).__name__} {told}".strip()
