"""The containers and values that a file may hold: finished, bounded in depth and size, and free of circles.

What is small in a file may be endless to walk through: a list that holds itself, or sixty tuples each of which holds
the one before twice. No later walk (a conversion, a copy, a printout) needs to expect that.
"""

from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

MAX_DEPTH = 100
MAX_UNFOLDED = 2_000_000
MAX_BITS = 1024


class Named:
    """What a name in a pickle stands for: something to call, or a value of its own, or both.

    Args:
        call: makes a value of the arguments in the file, or a :class:`Started`.
        value: what the name itself means where a file mentions it without a call.
    """

    __slots__ = ("call", "value")

    def __init__(self, call: Callable[..., Any] | None = None, value: Any = None) -> None:
        self.call = call
        self.value = value


class Started:
    """An object whose state follows its making, as pickles of instances do."""

    def set_state(self, state: Any) -> None:
        """Take the state in the file, unfinished.

        Raises:
            UnpicklingError: it is not what such an object has.
        """
        raise UnpicklingError(f"the file gives a state to a {type(self).__name__.strip('_')}")

    def finished(self, finish: Callable[[Any], Any]) -> Any:
        """The real object; ``finish`` does the same to a part."""
        raise UnpicklingError(f"{type(self).__name__.strip('_')} stands where a value belongs")


class Finisher:
    """Turns what stands for something into it, once for each object, and measures."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.done: dict[int, tuple[Any, int]] = {}
        self.kept: list[Any] = []  # an id is only valid while its object lives
        self.open: set[int] = set()
        self.unfolded = 0

    def finish(self, value: Any) -> Any:
        """The value with all that it holds finished; raises ``UnpicklingError`` where a limit is passed."""
        if not isinstance(value, dict | list | tuple | set | frozenset | Started | Named):
            if type(value) is int and value.bit_length() > MAX_BITS:
                raise UnpicklingError(f"it holds a number of {value.bit_length()} bits")
            self._grow(1)
            return value
        own = id(value)
        if own in self.done:
            result, size = self.done[own]
            self._grow(size)
            return result
        if own in self.open or len(self.open) >= MAX_DEPTH:
            problem = "refers to itself" if own in self.open else f"is over {MAX_DEPTH} deep"
            raise UnpicklingError(f"what it holds {problem}")
        before = self.unfolded
        self._grow(1)
        self.open.add(own)
        result = self._built(value)
        self.open.discard(own)
        self.kept.append(value)
        self.done[own] = result, self.unfolded - before
        return result

    def _built(self, value: Any) -> Any:
        if isinstance(value, Started):
            return value.finished(self.finish)
        if isinstance(value, Named):
            if value.value is None:
                raise UnpicklingError("it names something where a value belongs")
            return value.value
        if isinstance(value, dict):
            items = {self.finish(key): self.finish(item) for key, item in value.items()}
            return items if type(value) is dict else _like(value, items, self.finish)
        return type(value)(map(self.finish, value))

    def _grow(self, size: int) -> None:
        self.unfolded += size
        if self.unfolded > self.limit:
            raise UnpicklingError(
                f"it repeats itself: written out, it has over {self.limit} values"
            )


def _like(original: Any, items: dict[Any, Any], finish: Callable[[Any], Any]) -> Any:
    """An ordered dict with its attribute, or a counter."""
    result = type(original)(items)
    if (metadata := getattr(original, "_metadata", None)) is not None:
        metadata = finish(metadata)
        if not all(isinstance(part, dict) for part in (metadata, *metadata.values())):
            raise UnpicklingError("the _metadata of its state dict is no dict of dicts")
        result._metadata = metadata
    return result


def check_plain(value: Any) -> Any:
    """A copy of plain containers and values that no later walk through them can fail on.

    Raises:
        ValueError: they are too deep, or too many when written out.
    """
    try:
        return Finisher(MAX_UNFOLDED).finish(value)
    except UnpicklingError as error:
        raise ValueError(str(error)) from error


def check_depth(value: Any) -> None:
    """Let no dict or list be nested deeper than ``MAX_DEPTH``, whatever Python's own recursion limit is at the moment.

    Raises:
        RecursionError: one is.
    """
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        parts = (p.values() if isinstance(p, dict) else p for p in level)
        level = list({id(c): c for p in parts for c in p if isinstance(c, dict | list)}.values())
    if level:
        raise RecursionError(f"over {MAX_DEPTH} deep")
