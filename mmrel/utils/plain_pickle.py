"""Pickles of plain values: read by a closed table of names, so that nothing in a file can be executed.

A pickle is a program: it names functions, calls them with arguments of its choice and sets attributes of what they
return. Here a name is looked up in a table of our own functions, each of which checks its arguments, and nothing but
a name from that table can be called. What a program may build is bounded before it is built: in operations, depth,
and the size that it would have if nothing in it were shared.

Python's own ``pickle.Unpickler`` is not used with a restricted ``find_class`` because it also sets attributes of any
object, and reserves the memory that a file asks for; nor torch's ``weights_only`` one, whose list holds functions
that call their arguments (``_rebuild_from_type_v2``) and to which NumPy's unchecked ``dtype`` state has to be added.
"""

import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from pickle import UnpicklingError
from typing import IO, Any, ClassVar

from mmrel.utils.plain_tree import MAX_UNFOLDED, Finisher, Named, Started

MAX_OPERATIONS = 800_000
"""A checkpoint of 1000 tensors with its optimizer takes some 100,000."""
MAX_LINE = 2**16
KEYS = (str, bytes, int, float, bool, type(None))
FORBIDDEN = [
    "PERSID",
    "EXT1",
    "EXT2",
    "EXT4",
    "INST",
    "OBJ",
    "NEWOBJ_EX",
    "BYTEARRAY8",
    "NEXT_BUFFER",
    "READONLY_BUFFER",
]


class ForbiddenNameError(UnpicklingError):
    """A pickle names something that is not in the table.

    Attributes:
        name: what it names.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} was not an allowed global")
        self.name = name


class BoundedReader:
    """A file whose readers get what there is and no more, and count as operations.

    Args:
        file: binary, at its current position.
        size: bytes that it holds from its beginning.
        limit: operations that are allowed.
    """

    def __init__(self, file: IO[bytes], size: int, limit: int = MAX_OPERATIONS) -> None:
        self.file = file
        self.size = size
        self.limit = limit
        self.operations = 0

    def read(self, count: int) -> bytes:
        """Exactly ``count`` bytes."""
        if count == 1:  # what an operation begins with, and small operands
            self._count()
        elif count > self.size - self.file.tell():
            raise UnpicklingError(f"it is truncated: {count} more bytes are declared")
        return self.file.read(count)

    def readline(self) -> bytes:
        """One line with its end."""
        self._count()
        line = self.file.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            raise UnpicklingError("it is truncated: a line has no end")
        return line

    def _count(self) -> None:
        self.operations += 1
        if self.operations > self.limit:
            raise UnpicklingError(f"it has more than {self.limit} operations")


class _Unpickler(pickle._Unpickler):
    """Python's reference unpickler, with every operation that can reach an object replaced."""

    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]
    dispatch: ClassVar[Any] = dict(pickle._Unpickler.dispatch)

    def __init__(
        self,
        reader: BoundedReader,
        table: Mapping[str, Named],
        storage: Callable[[tuple[Any, ...]], Any] | None,
        encoding: str,
    ) -> None:
        super().__init__(reader, encoding=encoding)
        self.table = table
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in NAME_MAPPING:
            module, name = NAME_MAPPING[(module, name)]
        module = IMPORT_MAPPING.get(module, module)
        try:
            return self.table[f"{module}.{name}"]
        except KeyError:
            raise ForbiddenNameError(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        if self.storage is None or type(pid) is not tuple or not pid or pid[0] != "storage":
            raise UnpicklingError("it refers to an object outside the file")
        return self.storage(pid[1:])

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = _call(self.stack[-1], arguments)

    def load_build(self) -> None:
        state, built = self.stack.pop(), self.stack[-1]
        if isinstance(built, Started):
            built.set_state(state)
        elif type(built) is OrderedDict and type(state) is dict:
            # The versions of a module's parts, which a state dict carries as an attribute.
            built.__dict__["_metadata"] = state.get("_metadata")
        else:
            raise UnpicklingError(f"the file gives a state to a {type(built).__name__}")

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _mapping(self.stack[-1])[checked_key(key)] = value

    def load_setitems(self) -> None:
        items = self.pop_mark()
        _mapping(self.stack[-1]).update(zip(map(checked_key, items[::2]), items[1::2], strict=True))

    def load_append(self) -> None:
        value = self.stack.pop()
        _sequence(self.stack[-1]).append(value)

    def load_appends(self) -> None:
        items = self.pop_mark()
        _sequence(self.stack[-1]).extend(items)

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append(dict(zip(map(checked_key, items[::2]), items[1::2], strict=True)))

    def load_additems(self) -> None:
        items = self.pop_mark()
        if type(self.stack[-1]) is not set:
            raise UnpicklingError(f"it adds to a {type(self.stack[-1]).__name__}")
        self.stack[-1].update(map(checked_key, items))

    def load_frozenset(self) -> None:
        self.append(frozenset(map(checked_key, self.pop_mark())))

    def load_frame(self) -> None:
        self.read(8)  # only a hint of how much to read at once

    dispatch[pickle.REDUCE[0]] = dispatch[pickle.NEWOBJ[0]] = load_reduce
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.APPEND[0]] = load_append
    dispatch[pickle.APPENDS[0]] = load_appends
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.ADDITEMS[0]] = load_additems
    dispatch[pickle.FROZENSET[0]] = load_frozenset
    dispatch[pickle.FRAME[0]] = load_frame
    for _operation in FORBIDDEN:
        del dispatch[getattr(pickle, _operation)[0]]


def load_pickle(
    reader: BoundedReader,
    table: Mapping[str, Named],
    storage: Callable[[tuple[Any, ...]], Any] | None = None,
    encoding: str = "utf-8",
) -> Any:
    """Read one pickle.

    Args:
        reader: at its beginning; afterwards behind its end.
        table: what may be named, by full name.
        storage: gives what a reference ``('storage', *rest)`` to data outside the pickle stands for.
        encoding: of the byte strings of Python 2, or ``'bytes'``.

    Returns:
        Plain containers and values, and what the table's functions gave.

    Raises:
        UnpicklingError: it names or does what is not allowed, is too long or too deep, or refers to itself.
        Exception: of any other kind where it is damaged.
    """
    limit = max(MAX_UNFOLDED, reader.limit)
    return Finisher(limit).finish(_Unpickler(reader, table, storage, encoding).load())


def checked_key(key: Any) -> Any:
    """A key that hashes fast and without collisions that a file could arrange; raises otherwise."""
    if (type(key) is int and key.bit_length() > 63) or type(key) not in (*KEYS, Named):
        raise UnpicklingError(f"it has a dict or set with a {type(key).__name__} as key")
    return key


def _call(named: Any, arguments: Any) -> Any:
    if type(named) is not Named or named.call is None or type(arguments) is not tuple:
        raise UnpicklingError(f"the file calls a {type(named).__name__}")
    return named.call(*arguments)


def _mapping(value: Any) -> Any:
    if type(value) not in (dict, OrderedDict, Counter):
        raise UnpicklingError(f"it sets an item of a {type(value).__name__}")
    return value


def _sequence(value: Any) -> Any:
    if type(value) is not list:
        raise UnpicklingError(f"it appends to a {type(value).__name__}")
    return value
