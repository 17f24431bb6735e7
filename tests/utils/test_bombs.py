"""Small files that ask for more than they hold are refused in a few seconds and within 200 MB."""

import io
import json
import pickle
import resource
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import payloads
import pytest
import torch

from mmrel.checkpoints.config_text import backbone_config
from mmrel.utils.checkpoint_file import read_checkpoint
from mmrel.utils.config import load_config
from mmrel.utils.errors import UsageError

SECONDS, MEGABYTES = 5, 200
"""Of this process, so that a busy machine does not count."""


def zeros(path: Path) -> None:
    """Three gigabytes of zeros, deflated into three megabytes: one piece of 32 MB, 96 times."""
    deflater = zlib.compressobj(1, zlib.DEFLATED, -15)
    piece = deflater.compress(bytes(2**25)) + deflater.flush(zlib.Z_FULL_FLUSH)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/data/0", piece * 96 + deflater.flush())
        record = archive.getinfo("archive/data/0")
        record.compress_type, record.file_size = zipfile.ZIP_DEFLATED, 96 * 2**25


def program(content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + content + b".")

    return make


def tensor(size: int, stride: int) -> bytes:
    storage = payloads.tuple_of(
        *(payloads.text("storage"), payloads.name("torch.FloatStorage"), payloads.text("0")),
        *(payloads.text("cpu"), b"K\x01"),
    )
    numbers = [b"\x85".join((b"\x8a\x08" + struct.pack("<q", n), b"")) for n in (size, stride)]
    return payloads.call(
        payloads.name("torch._utils._rebuild_tensor_v2"), storage + b"Q", b"K\0", *numbers
    )


def terabyte(stride: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        program(tensor(2**38, stride))(path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("archive/data/0", bytes(4))

    return make


def directory(path: Path) -> None:
    """A table of contents of a million records, each of them empty."""
    record = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    table = record * 1_000_000
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, len(table), 0, 0)
    path.write_bytes(table + end)


def safetensors(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")


BOMBS: dict[str, tuple[Callable[[Path], None], str]] = {
    "zeros": (zeros, "more than the file holds"),
    "nested tuples": (program(b")" + b"\x85" * 10_000), "over 100 deep"),
    "nested lists": (program(b"]" * 10_000 + b"a" * 9_999), "over 100 deep"),
    "refers to itself": (program(b"]q\0h\0a"), "refers to itself"),
    "doubled": (program(b"](K\1e" + b"q\0h\0\x86" * 60), "repeats itself"),
    "doubled as lists": (program(b"]" + b"q\0](h\0h\0e" * 60), "repeats itself"),
    "terabyte": (terabyte(1), "larger than its storage"),
    "terabyte of one value": (terabyte(0), "more than the file of them holds"),
    "operations": (program(b"}0" * 5_000_000), "more than 800000 operations"),
    "containers": (program(b"\x8f" * 2_000_000), "more than 800000 operations"),
    "marks": (program(b"(" * 2_000_000), "more than 800000 operations"),
    "huge text": (program(b"X\xff\xff\xff\xff"), "is truncated"),
    "huge bytes": (program(b"\x8e" + struct.pack("<Q", 2**40)), "is truncated"),
    "huge byte array": (program(b"\x96" + struct.pack("<Q", 2**40)), "cannot be read"),
    "huge number": (program(b"\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6), "bits"),
    "bytearray": (
        program(payloads.call(payloads.name("builtins.bytearray"), b"J\xff\xff\xff\x7f")),
        "that is not in it",
    ),
    "tensor of a class": (
        program(payloads.call(payloads.name("torch.Tensor"), b"J\xff\xff\xff\x7f")),
        "calls",
    ),
    "array": (
        program(
            payloads.EMPTY
            + payloads.tuple_of(
                b"K\1",
                payloads.tuple_of(b"J\xff\xff\xff\x7f", b"J\xff\xff\xff\x7f"),
                payloads.call(payloads.name("numpy.dtype"), payloads.text("f8")),
                b"\x89",
                payloads.BYTES,
            )
            + b"b"
        ),
        "has 1 bytes",
    ),
    "colliding keys": (
        program(
            b"}("
            + b"".join(
                b"\x8a\x0a" + ((2**61 - 1) * k).to_bytes(10, "little") + b"N"
                for k in range(1, 60_000)
            )
            + b"u"
        ),
        "as key",
    ),
    "table of contents": (directory, "table of contents"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_read__refuses_a_bomb(name: str, tmp_path: Path) -> None:
    make, message = BOMBS[name]
    path = tmp_path / "x.pth"
    make(path)
    refused(lambda: read_checkpoint(path), message, ValueError)


def test_read__reserves_nothing_for_a_memo_of_billions(tmp_path: Path) -> None:
    """Python's own unpickler makes room for all places up to the one that is named."""
    path = tmp_path / "x.pth"
    program(b"}r\xff\xff\xff\x7f")(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_checkpoint(path) == {}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024


def refused(read: Callable[[], object], message: str, kind: type[Exception]) -> None:
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(kind, match=message):
        read()
    assert time.process_time() - start < SECONDS
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MEGABYTES * 1024, f"{grown / 1024:.0f} MB"


def test_read__counts_what_old_streams_declare(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    storage = payloads.tuple_of(
        *(payloads.text("storage"), payloads.name("torch.FloatStorage"), payloads.text("0")),
        *(payloads.text("cpu"), b"\x8a\x08" + struct.pack("<q", 2**38), b"N"),
    )
    path.write_bytes(payloads.HEAD + b"\x80\x02" + storage + b"Q." + pickle.dumps(["0"], 2))
    refused(lambda: read_checkpoint(path), "storages of 1099511627776 bytes", ValueError)


CONFIGS = {
    ".py": [
        "x = " + "[" * 100_000 + "]" * 100_000,
        "x = " + "-" * 100_000 + "1",
        "x = 1" + "+1" * 100_000,
    ],
    ".json": ["[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000],
    ".yml": [
        "a: " + "[" * 5_000 + "]" * 5_000,
        "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 40)),
        "a: &a [*a]",
    ],
}


@pytest.mark.parametrize(
    ("suffix", "number"), [(s, n) for s, t in CONFIGS.items() for n in range(len(t))]
)
def test_load_config__refuses_what_is_too_deep(suffix: str, number: int, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_text(CONFIGS[suffix][number])
    refused(lambda: load_config(str(path)), "cannot be read as a configuration", UsageError)


@pytest.mark.parametrize(
    "text", [*CONFIGS[".py"], "model = dict(a=" * 50_000, "x" * 10**7, "model={[]: 1}"]
)
def test_config_text__tells_nothing_of_a_bomb(text: str) -> None:
    """The text of a configuration in a checkpoint is data, parsed and never executed."""
    start = time.process_time()
    assert backbone_config(text) == {} and backbone_config("model = " + text) == {}
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize("limit", [1000, 10_000])  # torch's compiler raises Python's own limit
@pytest.mark.parametrize("depth", [101, 500])
def test_load_config__json_that_is_deep_in_a_value(depth: int, limit: int, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"a": nested(depth)}))
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(limit)
    try:
        refused(lambda: load_config(str(path)), "it is nested too deeply", UsageError)
    finally:
        sys.setrecursionlimit(before)


def test_load_config__json_of_the_greatest_depth(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"a": nested(100)}))
    assert load_config(str(path)).a == nested(100)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_read__limits_leave_room_for_the_largest(tmp_path: Path) -> None:
    """An optimizer of 1000 tensors and a log of 100,000 entries are no bombs."""
    entries = {
        k: {"step": torch.ones(()), "exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)}
        for k in range(1000)
    }
    buffer = io.BytesIO()
    torch.save({"state": entries, "log": list(range(100_000))}, buffer)
    path = tmp_path / "x.pth"
    path.write_bytes(buffer.getvalue())
    assert len(read_checkpoint(path)["state"]) == 1000
