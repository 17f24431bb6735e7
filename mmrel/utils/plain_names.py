"""What a checkpoint's pickle may name, beside tensors: command lines, paths, NumPy's numbers, log buffers.

Each name stands for a function here that checks its arguments; see ``plain_pickle``. A new name belongs in the table
only with a function that can neither run, open nor reserve anything that the file chooses.
"""

import math
from argparse import Namespace
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from pickle import UnpicklingError
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer
from numpy.typing import NDArray

from mmrel.utils.plain_pickle import checked_key
from mmrel.utils.plain_tree import Named, Started

KINDS = "biufc"
"""NumPy's numbers; an array of objects would hold a pickle, one of records raw memory."""
DTYPE_STATE = 8


class Placeholder:
    """Stands for a class of another package that a file only mentions (a Lightning callback as a dict key)."""


class _Attributes(Started):
    """An instance whose state is a dict of its attributes."""

    def __init__(self, make: Callable[[dict[str, Any]], Any]) -> None:
        self.make = make
        self.state: dict[str, Any] = {}

    def set_state(self, state: Any) -> None:
        names = state if isinstance(state, dict) else None
        if names is None or not all(isinstance(n, str) and not n.startswith("__") for n in names):
            raise UnpicklingError("the state of an object is no dict of attributes")
        self.state = names

    def finished(self, finish: Callable[[Any], Any]) -> Any:
        return self.make({name: finish(value) for name, value in self.state.items()})


class _DType(Started):
    """A NumPy number type, and its byte order, which comes afterwards."""

    def __init__(self, name: Any, *_: Any) -> None:
        name = name.decode("ascii") if isinstance(name, bytes) else name
        if not isinstance(name, str) or len(name) > 12:
            raise UnpicklingError("the name of a NumPy type is damaged")
        self.dtype = np.dtype(name)

    def set_state(self, state: Any) -> None:
        order: Any = state[1] if isinstance(state, tuple) and len(state) >= DTYPE_STATE else None
        order = order.decode("ascii") if isinstance(order, bytes) else order
        if order not in ("<", ">", "=", "|") or any(part is not None for part in state[2:5]):
            raise UnpicklingError("it has a NumPy type that is no plain number")
        self.dtype = self.dtype.newbyteorder("=" if order == "|" else order)

    def finished(self, finish: Callable[[Any], Any]) -> Any:
        return self.number()

    def number(self) -> np.dtype[Any]:
        """The type, which must be a number's. Asked when it is used: what an array would hold comes first."""
        if self.dtype.kind not in KINDS:
            raise UnpicklingError(f"it has a NumPy array of {self.dtype}, not of numbers")
        return self.dtype


class _Array(Started):
    """A NumPy array, which is empty before its state comes."""

    def __init__(self, *_: Any) -> None:
        self.array: NDArray[Any] | None = None

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise UnpicklingError("the state of a NumPy array is damaged")
        shape, dtype, fortran, content = state[-4:]
        if not isinstance(dtype, _DType) or (dtype.number() and not isinstance(content, bytes)):
            raise UnpicklingError("it has a NumPy array that is not of numbers")
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise UnpicklingError("the shape of a NumPy array is damaged")
        if math.prod(shape) * dtype.number().itemsize != len(content):
            raise UnpicklingError(f"a NumPy array of shape {shape} has {len(content)} bytes")
        flat = np.frombuffer(content, dtype.number())
        shaped = flat.reshape(shape, order="F" if fortran else "C")
        self.array = np.array(shaped, flat.dtype.newbyteorder("="), order="K", copy=True)

    def finished(self, finish: Callable[[Any], Any]) -> Any:
        if self.array is None:
            raise UnpicklingError("a NumPy array has no content")
        return self.array


def _scalar(dtype: Any, content: Any) -> Any:
    if not isinstance(dtype, _DType) or not isinstance(content, bytes):
        raise UnpicklingError("it has a NumPy scalar that is no number")
    if len(content) != dtype.number().itemsize:
        raise UnpicklingError(f"a NumPy number has {len(content)} bytes")
    return np.frombuffer(content, dtype.number())[0]


def _encoded(text: Any, encoding: Any) -> bytes:
    """Bytes, which pickles of protocol 2 hold as text."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise UnpicklingError(f"it holds bytes encoded as {str(encoding)[:40]!r}")
    return text.encode("latin-1")


def _bytearray(content: Any = b"", encoding: Any = None) -> bytearray:
    if encoding is not None:
        content = _encoded(content, encoding)
    if not isinstance(content, bytes):
        raise UnpicklingError("it asks for an array of bytes that is not in it")
    return bytearray(content)


def _ordered(pairs: Any = ()) -> OrderedDict[Any, Any]:
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
    ):
        raise UnpicklingError("an ordered dict is made of no pairs")
    return OrderedDict((checked_key(key), value) for key, value in pairs)


def _counter(counts: Any = None) -> Counter[Any]:
    if not isinstance(counts, dict | None):
        raise UnpicklingError("a counter is made of no dict")
    return Counter(counts or {})


def _attribute_dict(content: Any = None) -> dict[Any, Any]:
    """Lightning's dict, as a plain one; what it holds follows or is the argument."""
    if not isinstance(content, dict | None):
        raise UnpicklingError("an attribute dict is made of no dict")
    return dict(content or {})


def _set(values: Any = ()) -> set[Any]:
    if not isinstance(values, list | tuple):
        raise UnpicklingError("a set is made of no list")
    return set(map(checked_key, values))


def _slice(*bounds: Any) -> slice:
    if not all(bound is None or type(bound) is int for bound in bounds):
        raise UnpicklingError("the bounds of a slice are no integers")
    return slice(*bounds)


def _complex(real: Any = 0.0, imaginary: Any = 0.0) -> complex:
    if not isinstance(real, int | float) or not isinstance(imaginary, int | float):
        raise UnpicklingError("the parts of a complex number are no numbers")
    return complex(real, imaginary)


def _path(kind: type[PurePath]) -> Named:
    def make(*parts: Any) -> PurePath:
        if not all(isinstance(part, str) for part in parts):
            raise UnpicklingError("the parts of a path are no texts")
        return kind(*parts)

    return Named(make)


def _history(state: dict[str, Any]) -> HistoryBuffer:
    """A log buffer; its methods are this process's, whatever the file names."""
    log, count = state.get("_log_history"), state.get("_count_history")
    length: Any = state.get("max_length")
    if not isinstance(log, np.ndarray) or not isinstance(count, np.ndarray):
        raise UnpicklingError("a log buffer has no numbers")
    whole = type(length) is int and 0 < length < 2**31
    if log.ndim != 1 or log.shape != count.shape or not whole:
        raise UnpicklingError("a log buffer is damaged")
    return HistoryBuffer(log, count, length)


def _history_method(owner: Any, name: Any) -> str:
    """Stands for ``getattr``, which a log buffer's file uses to name its own statistics; they are not taken."""
    if owner is not TABLE[BUFFER] or not isinstance(name, str) or name.startswith("_"):
        raise UnpicklingError(f"the file asks for the attribute {str(name)[:40]!r} of an object")
    return name


BUFFER = "mmengine.logging.history_buffer.HistoryBuffer"
TABLE: dict[str, Named] = {
    BUFFER: Named(lambda *_: _Attributes(_history)),
    "argparse.Namespace": Named(lambda: _Attributes(lambda state: Namespace(**state))),
    "builtins.bytearray": Named(_bytearray),
    "builtins.complex": Named(_complex),
    "builtins.getattr": Named(_history_method),
    "builtins.set": Named(_set),
    "builtins.slice": Named(_slice),
    "_codecs.encode": Named(_encoded),
    "collections.Counter": Named(_counter),
    "collections.OrderedDict": Named(_ordered),
    "numpy.dtype": Named(_DType),
    "numpy.ndarray": Named(),
}
TABLE |= {
    f"numpy.{core}.multiarray.{name}": named
    for core in ("core", "_core")
    for name, named in {"_reconstruct": Named(_Array), "scalar": Named(_scalar)}.items()
}
TABLE |= {
    f"{module}.{pure}{name}": _path(kind)
    for module in ("pathlib", "pathlib._local")
    for pure in ("", "Pure")
    for name, kind in {"PosixPath": PurePosixPath, "WindowsPath": PureWindowsPath}.items()
}
LIGHTNING_CALLBACKS = (
    "callbacks.model_checkpoint.ModelCheckpoint",
    "callbacks.early_stopping.EarlyStopping",
    "callbacks.lr_monitor.LearningRateMonitor",
)


TABLE |= {
    f"{package}.{name}": Named(value=Placeholder)
    for package in ("pytorch_lightning", "lightning.pytorch")
    for name in LIGHTNING_CALLBACKS
}
TABLE |= {
    name: Named(_attribute_dict)
    for name in (
        "pytorch_lightning.utilities.parsing.AttributeDict",
        "lightning.pytorch.utilities.parsing.AttributeDict",
        "lightning_fabric.utilities.data.AttributeDict",
    )
}
