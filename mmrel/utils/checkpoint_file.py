"""Reading checkpoint files that others wrote, without executing what is in them.

A ``.pth`` file is a pickle, which can name any function to be called on loading. Here a file is read with torch's
``weights_only`` unpickler and a list of harmless types: what the official training checkpoints of the DINO family, of
MMEngine and of Lightning hold beside tensors. Anything else is refused by name; there is no other way in.
"""

import zipfile
from argparse import Namespace
from pathlib import Path, PurePosixPath, PureWindowsPath
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mmrel.utils.numpy_names import multiarray

DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


BOILERPLATE = ("Weights only load failed", "Check the documentation of torch.load")


class Placeholder:
    """Stands for a class of another package that a file only mentions (a Lightning callback as a dict key)."""


LIGHTNING = {
    f"{package}.{name}": stand_in
    for package in ("pytorch_lightning", "lightning.pytorch")
    for name, stand_in in {
        "callbacks.model_checkpoint.ModelCheckpoint": Placeholder,
        "callbacks.early_stopping.EarlyStopping": Placeholder,
        "callbacks.lr_monitor.LearningRateMonitor": Placeholder,
        "utilities.parsing.AttributeDict": dict,
    }.items()
} | {"lightning_fabric.utilities.data.AttributeDict": dict}


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
    try:
        _check_archive(path)
        with torch.serialization.safe_globals(allowed_types()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or crafted file provokes
        raise ValueError(
            f"'{path}' cannot be read as a checkpoint of tensors ({_reason(error)}). It is damaged, not a "
            "checkpoint, or holds other Python objects, which are not loaded for safety. Fetch it again, or, where "
            "you trust its writer, save its tensors alone in a dict there."
        ) from error


def allowed_types() -> list[Any]:
    """Types besides tensors that may stand in a checkpoint, as ``torch.serialization.safe_globals`` takes them.

    Command lines (``argparse.Namespace``), paths, which become pure ones that cannot touch a disk, NumPy's numbers and
    arrays under their old and new names, MMEngine's log buffers, and the names that Lightning mentions.
    """
    named: dict[str, Any] = {
        f"{module}.multiarray.{function}": getattr(multiarray(), function)
        for module in ("numpy.core", "numpy._core")
        for function in ("_reconstruct", "scalar")
    }
    for module in ("pathlib", "pathlib._local"):
        named |= {f"{module}.{kind}PosixPath": PurePosixPath for kind in ("", "Pure")}
        named |= {f"{module}.{kind}WindowsPath": PureWindowsPath for kind in ("", "Pure")}
    return [
        (_history_method, "builtins.getattr"),
        *((value, name) for name, value in (named | LIGHTNING).items()),
        Namespace,
        HistoryBuffer,
        np.ndarray,
        np.dtype,
        slice,
        *{type(np.dtype(name)) for name in DTYPES},
    ]


def _history_method(owner: Any, name: str) -> Any:
    """Stands for ``getattr``, which a log buffer's file uses to name its own statistics."""
    if owner is not HistoryBuffer or name.startswith("_"):
        raise UnpicklingError(f"the file asks for the attribute {name!r} of {owner!r}")
    return getattr(owner, name)


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


def _check_archive(path: Path) -> None:
    """Refuse a zip archive that is cut off, bit-flipped, or larger inside than outside.

    torch stores its records uncompressed, so that a compressed one can only be a trap, and does not compare their
    checksums.
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return
    if not zipfile.is_zipfile(path):
        raise ValueError("the file is truncated: its table of contents is missing")
    with zipfile.ZipFile(path) as archive:
        declared = sum(record.file_size for record in archive.infolist())
        if declared > path.stat().st_size:
            raise ValueError(f"it declares {declared} bytes of content, more than the file holds")
        if damaged := archive.testzip():
            raise ValueError(f"the checksum of {damaged} differs")


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
    """The one line of torch's long message that says what is wrong."""
    text = str(error).split("WeightsUnpickler error:")[-1].split("Please use")[0]
    lines = [line for line in text.splitlines() if not line.startswith(BOILERPLATE)]
    told = (line.split(" In PyTorch 2.6")[0].strip(" .") for line in lines)
    return next(filter(None, told), type(error).__name__)
