"""Reading checkpoint files that others wrote, without executing what is in them.

A ``.pth`` file is a pickle, which can name any function to be called on loading. Here it is read with a closed list of
harmless types: what the official training checkpoints of the DINO family, of MMEngine and of Lightning hold beside
tensors (``plain_names``). Anything else is refused by name, and so is what is larger inside than outside, deeper or
more often repeated than a checkpoint is. There is no other way in, but for :func:`trust_checkpoints`.
"""

from pathlib import Path
from typing import IO, Any

import torch

from mmrel.utils.torch_file import read_torch_file

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
        path: a file of ``torch.save``, of either format, or ``.safetensors`` (needs the package safetensors).

    Returns:
        What was saved: usually nested dicts of tensors.

    Raises:
        OSError: there is no such file, or it must not be read.
        ValueError: it is empty, truncated, damaged, or holds objects that are not on the list.
    """
    path = Path(path)
    _check_file(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
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
    if path.is_dir():
        raise ValueError(f"'{path}' is a folder. Give the path of a checkpoint file in it.")
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


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise ValueError(
            f"'{path}' needs the package safetensors to be read. Install it with `pip install safetensors`, or give "
            "a .bin or .pth file of the same weights."
        ) from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"'{path}' cannot be read as safetensors ({_reason(error)}). It is damaged or of another format; fetch "
            "it again."
        ) from error


def _reason(error: Exception) -> str:
    """The first line of a message, or what kind of error it is where it has none or says little."""
    told = str(error).partition("\n")[0].strip(" .'\"")[:300]
    return told if len(told) > 12 else f"{type(error).__name__} {told}".strip()
