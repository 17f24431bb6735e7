"""The files of ``torch.save``, read without torch's unpickler: the zip archive, and the stream of before 2020.

Each pickle in them goes through ``plain_pickle``; storages are read as bytes, their sizes are compared with what is
there before memory is reserved, and a tensor must lie inside its storage.
"""

import io
import os
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from pickle import UnpicklingError
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from mmrel.utils.plain_pickle import BoundedReader, load_pickle
from mmrel.utils.plain_tree import Named
from mmrel.utils.torch_names import NAMES, Storage

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
CHUNK = 2**24
MAX_DIRECTORY = 2**24
"""Bytes of an archive's table of contents: some 150,000 records."""
TAIL = 2**16 + 128


def read_torch_file(file: IO[bytes]) -> Any:
    """What ``torch.save`` wrote, on the CPU.

    Args:
        file: open for reading bytes, at any position.

    Raises:
        Exception: of any kind, in bounded time and memory, where the file is damaged, crafted, or holds anything but
            tensors and the plain types of ``plain_names``.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    is_archive = file.read(2) == b"PK"
    file.seek(0)
    return _read_archive(file, size) if is_archive else _read_stream(file, size)


def read_storage(data: bytes) -> Tensor:
    """The flat values of a storage that was saved by itself, as a pickled tensor saves its own.

    Raises:
        Exception: as :func:`read_torch_file`, or it is something else than a storage.
    """
    values = _read_stream(io.BytesIO(data), len(data), _BareStorage)
    if not isinstance(values, Tensor) or values.ndim != 1:
        raise UnpicklingError(f"a {type(values).__name__} stands where a storage belongs")
    return values


class _BareStorage(Storage):
    def finished(self, finish: Callable[[Any], Any]) -> Tensor:
        return self.values


def _read_archive(file: IO[bytes], size: int) -> Any:
    _check_directory(file, size)
    with zipfile.ZipFile(file) as archive:
        records, prefix = _records(archive, size)
        _check_order(archive, records, prefix)
        read: dict[str, Tensor] = {}

        def storage(reference: tuple[Any, ...]) -> Storage:
            dtype, key, _, count = _reference(reference, 4)
            if not isinstance(key, str):
                raise UnpicklingError("the name of a storage is no text")
            if key not in read:
                record = records[f"{prefix}/data/{key}"]
                if record.file_size != count * dtype.itemsize:
                    raise UnpicklingError(
                        f"the record size of storage {key} is {record.file_size} bytes; {count} numbers "
                        f"of {dtype} are declared"
                    )
                read[key] = _read_record(archive, record)
            return Storage(_viewed(read[key], dtype))

        program = archive.read(records[f"{prefix}/data.pkl"])
        loaded = load_pickle(BoundedReader(io.BytesIO(program), len(program)), NAMES, storage)
        for (
            name,
            record,
        ) in records.items():  # also of what no tensor uses: the whole file is good or bad
            if name.removeprefix(f"{prefix}/data/") not in read:
                _read_record(archive, record, keep=False)
        return loaded


def _records(archive: zipfile.ZipFile, size: int) -> tuple[dict[str, zipfile.ZipInfo], str]:
    """The archive's records by name, and the folder that they all lie in.

    A compressed record can only be a trap, because torch writes none, but it may pass if it is small.
    """
    listed = archive.infolist()
    declared = sum(record.file_size for record in listed)
    if declared > size:
        raise ValueError(f"it declares {declared} bytes of content, more than the file holds")
    names = [record.filename for record in listed]
    first = PurePosixPath(names[0]).parts[0] if names else ""
    for name in names:
        parts = PurePosixPath(name).parts
        if len(parts) < 2 or parts[0] != first or ".." in parts or name.startswith("/"):
            raise ValueError(f"its record {name[:80]!r} is not in a subdirectory {first[:80]!r}")
    records = dict(zip(names, listed, strict=True))
    if len(records) != len(names):
        raise ValueError("two of its records have one name")
    if f"{first}/constants.pkl" in records or f"{first}/data.pkl" not in records:
        raise ValueError("it is an archive of TorchScript or of something else than torch.save")
    return records, first


def _check_directory(file: IO[bytes], size: int) -> None:
    """Refuse an archive without a table of contents, or with one that is a trap of its own."""
    file.seek(max(0, size - TAIL))
    tail = file.read()
    end, wide = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
    if not 0 <= end <= len(tail) - 22:
        raise ValueError("the file is truncated: its table of contents is missing")
    lengths = [struct.unpack_from("<I", tail, end + 12)[0]]
    if 0 <= wide <= len(tail) - 56:
        lengths = [struct.unpack_from("<Q", tail, wide + 40)[0]]
    if max(lengths) > MAX_DIRECTORY:
        raise ValueError(f"its table of contents has {max(lengths)} bytes")


def _check_order(
    archive: zipfile.ZipFile, records: Mapping[str, zipfile.ZipInfo], prefix: str
) -> None:
    name = f"{prefix}/byteorder"
    if name in records and archive.read(name) != sys.byteorder.encode():
        raise ValueError("it was written on a machine of another byte order")


def _read_record(archive: zipfile.ZipFile, record: zipfile.ZipInfo, keep: bool = True) -> Tensor:
    """A record's bytes, whose checksum is compared on the way."""
    values = torch.empty(record.file_size if keep else 0, dtype=torch.uint8)
    view, place = values.numpy(), 0
    with archive.open(record) as content:
        while chunk := content.read(CHUNK):
            if keep:
                view[place : place + len(chunk)] = np.frombuffer(chunk, np.uint8)
            place += len(chunk)
    if place != record.file_size:
        raise ValueError(f"the file is truncated in {record.filename}")
    return values


def _read_stream(file: IO[bytes], size: int, kind: type[Storage] = Storage) -> Any:
    """The format of torch before 1.6: pickles one after the other, then the storages."""
    reader = BoundedReader(file, size)
    read: Callable[[], Any] = lambda: load_pickle(reader, {})  # noqa: E731
    if read() != MAGIC or read() != PROTOCOL:
        raise ValueError("it is no file of torch.save")
    system = read()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("it was written on a machine of another byte order")
    storages: dict[str, Tensor] = {}
    dtypes: dict[str, torch.dtype] = {}
    reserved = 0

    def storage(reference: tuple[Any, ...]) -> Storage:
        nonlocal reserved
        dtype, key, _, count, view = _reference(reference, 5)
        if not isinstance(key, str):
            raise UnpicklingError("the name of a storage is no text")
        if key not in storages:
            reserved += count * dtype.itemsize
            if reserved > size - file.tell():
                raise UnpicklingError(f"storages of {reserved} bytes are declared")
            storages[key] = torch.empty(count * dtype.itemsize, dtype=torch.uint8)
            dtypes[key] = dtype
        return kind(_part(_viewed(storages[key], dtype), view))

    loaded = load_pickle(reader, NAMES, storage)
    keys = read()
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise ValueError("its list of storages differs from those that it uses")
    for key in keys:
        _fill(file, storages[key], dtypes[key].itemsize)
    return loaded


def _fill(file: IO[bytes], values: Tensor, itemsize: int) -> None:
    head = file.read(8)
    if len(head) != 8 or struct.unpack("<q", head)[0] * itemsize != values.numel():
        raise ValueError("the file is truncated, or the size of a storage differs")
    view, place = values.numpy(), 0
    while place < len(view):
        chunk = file.read(min(CHUNK, len(view) - place))
        if not chunk:
            raise ValueError("the file is truncated")
        view[place : place + len(chunk)] = np.frombuffer(chunk, np.uint8)
        place += len(chunk)


def _reference(reference: tuple[Any, ...], length: int) -> tuple[Any, ...]:
    if len(reference) != length or not isinstance(reference[0], Named):
        raise UnpicklingError("a reference to a storage is damaged")
    dtype, count = reference[0].value, reference[3]
    if not isinstance(dtype, torch.dtype) or type(count) is not int or count < 0:
        raise UnpicklingError("a reference to a storage is damaged")
    return dtype, *reference[1:]


def _part(values: Tensor, view: Any) -> Tensor:
    """A part of a storage, as very old files share them: (its key, offset, length)."""
    if view is None:
        return values
    numbers = isinstance(view, tuple) and len(view) == 3 and all(type(n) is int for n in view[1:])
    if not numbers or not 0 <= view[1] <= view[1] + view[2] <= len(values):
        raise UnpicklingError("a part of a storage lies outside of it")
    return values[view[1] : view[1] + view[2]]


def _viewed(values: Tensor, dtype: torch.dtype) -> Tensor:
    if values.numel() % dtype.itemsize:
        raise UnpicklingError("two tensors disagree about the type of their storage")
    return values.view(dtype) if values.numel() else torch.empty(0, dtype=dtype)
