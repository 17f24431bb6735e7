"""NumPy's internal module of arrays, which pickles name by its path."""

from importlib import import_module
from types import ModuleType


def multiarray() -> ModuleType:
    """``numpy._core.multiarray``, or what it was called before NumPy 1.26."""
    try:
        return import_module("numpy._core.multiarray")
    except ModuleNotFoundError:
        return import_module("numpy.core.multiarray")
