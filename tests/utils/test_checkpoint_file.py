"""Reading foreign files: harmless objects are read, nothing is executed, damage is an error."""

import argparse
import io
import os
import pickle
import resource
import struct
import sys
import tarfile
import time
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmrel.utils.checkpoint_file import read_checkpoint
from mmrel.utils.files import save_atomically

STATE = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3)}


class Call:
    """A pickle of this calls a function when it is loaded."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.call = (function, arguments, state)

    def __reduce__(self) -> tuple:
        return self.call


def edit_pickle(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the pickle inside a file of torch.save."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, change(content) if name.endswith("data.pkl") else content)


@pytest.mark.parametrize("new_format", [True, False])
def test_read__what_official_checkpoints_hold(tmp_path: Path, new_format: bool) -> None:
    """A command line with paths and NumPy numbers, ordered dicts, log buffers."""
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    args = argparse.Namespace(
        output_dir=Path("/checkpoint/run"), lr=np.float64(0.5), gpu=np.int64(3), ok=np.bool_(True)
    )
    content = {"model": OrderedDict(STATE), "args": args, "log": buffer, "grid": np.ones((2, 2))}
    path = tmp_path / "a.pth"
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    loaded = read_checkpoint(path)
    assert torch.equal(loaded["model"]["a.weight"], STATE["a.weight"])
    assert vars(loaded["args"]) == vars(args) | {"output_dir": PurePosixPath("/checkpoint/run")}
    assert type(loaded["args"].output_dir) is PurePosixPath
    assert loaded["log"].mean() == 1.5 and loaded["grid"].sum() == 4


def test_read__numpy_under_its_old_name(tmp_path: Path) -> None:
    """Files of 2021 say numpy.core, today's NumPy says numpy._core."""
    path = tmp_path / "a.pth"
    torch.save({"args": argparse.Namespace(lr=np.float32(0.5), x=np.arange(3))}, path)
    edit_pickle(path, lambda text: text.replace(b"numpy._core", b"numpy.core"))
    args = read_checkpoint(str(path))["args"]
    assert args.lr == 0.5 and args.x.tolist() == [0, 1, 2]


def test_read__lightning_names_its_callbacks(tmp_path: Path) -> None:
    """The class of another package as a dict key is a name only; its attributes dict is a plain one."""
    path = tmp_path / "a.ckpt"
    torch.save({"callbacks": {argparse.Namespace: {"best": 1.0}}, "state_dict": STATE}, path)
    name = b"cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n"
    edit_pickle(path, lambda text: text.replace(b"cargparse\nNamespace\n", name))
    loaded = read_checkpoint(path)
    assert list(loaded["callbacks"].values()) == [{"best": 1.0}]
    assert "pytorch_lightning" not in sys.modules


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("new_format", [True, False])
def test_read__gives_what_torch_gives(new_format: bool, protocol: int, tmp_path: Path) -> None:
    """Number types, views of one storage, empty and scalar tensors, parameters, and the plain values beside them."""
    base = torch.arange(12.0)
    tensors = {
        **{
            str(t): torch.ones(3).to(t)
            for t in (torch.bool, torch.int8, torch.float16, torch.bfloat16)
        },
        **{str(t): torch.ones(3).to(t) for t in (torch.float64, torch.complex64, torch.int64)},
        "views": [base[2:8].reshape(2, 3).T, base[::3], base.reshape(3, 4)[1:, 1:]],
        "empty": torch.ones(0, 3),
        "scalar": torch.tensor(2.5),
        "expanded": torch.ones(1, 3).expand(4, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "wants gradient": torch.ones(2, requires_grad=True),
    }
    plain = {
        "size": torch.Size([2, 3]),
        "type": torch.float16,
        "device": torch.device("cuda:1"),
        "slice": slice(1, None, 2),
        "set": {1, 2},
        "bytes": b"\x00\xff",
        "bytearray": bytearray(b"ab"),
        "complex": 1 + 2j,
        "counter": Counter("aab"),
        "numbers": (None, True, -1, 2**70, 1.5, [1, (2,)], {3: "x"}),
        "big-endian": np.arange(3, dtype=">i4"),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "0-d": np.array(2.0),
    }
    path = tmp_path / "a.pth"
    torch.save(
        {"t": tensors, "p": plain},
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=new_format,
    )
    loaded, expected = read_checkpoint(path), torch.load(path, weights_only=False)
    for name, value in expected["t"].items():
        one = loaded["t"][name]
        pairs = zip(one, value, strict=True) if isinstance(value, list) else [(one, value)]
        for mine, theirs in pairs:
            assert type(mine) is type(theirs) and torch.equal(mine, theirs), name
            assert mine.dtype == theirs.dtype and mine.stride() == theirs.stride(), name
            assert mine.requires_grad == theirs.requires_grad, name
    views = loaded["t"]["views"]
    assert len({view.untyped_storage().data_ptr() for view in views}) == 1
    for name, value in expected["p"].items():
        mine = loaded["p"][name]
        assert type(mine) is type(value) and repr(mine) == repr(value), name


def test_read__state_dicts_keep_the_versions_of_their_modules(tmp_path: Path) -> None:
    """BatchNorm's version decides how its counter is loaded."""
    state = torch.nn.BatchNorm1d(2).state_dict()
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    loaded = read_checkpoint(tmp_path / "a.pth")["state_dict"]
    assert type(loaded) is OrderedDict and loaded._metadata == {"": {"version": 2}}


def _zip_slip(path: Path, canary: Path) -> None:
    torch.save(STATE, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"../../../../..{canary}", "escaped")
        archive.writestr(str(canary), "escaped")


def _huge(path: Path, canary: Path, new_format: bool) -> None:
    """A terabyte declared: as storage of a tensor, in the new and in the old format."""
    torch.save({"x": torch.ones(1000)}, path, _use_new_zipfile_serialization=new_format)
    huge = b"\x8a\x06" + struct.pack("<q", 2**38)[:6]

    def change(text: bytes) -> bytes:
        return text.replace(b"M\xe8\x03", huge)

    if new_format:
        edit_pickle(path, change)
    else:
        content = change(path.read_bytes())
        path.write_bytes(content.replace(struct.pack("<q", 1000), struct.pack("<q", 2**38)))


def _bomb(path: Path, canary: Path) -> None:
    """Half a gigabyte of zeros in half a megabyte."""
    torch.save(STATE, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/9", bytes(2**29))


def _tar(path: Path, canary: Path) -> None:
    """The oldest format is a tar archive, which torch would unpack."""
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors", f"../../..{canary}"):
            content = pickle.dumps(Call(os.system, f"touch {canary}"), 2)
            record = tarfile.TarInfo(name)
            record.size = len(content)
            archive.addfile(record, io.BytesIO(content))


def _saved(make: Callable[[Path], Any], **options: Any) -> Callable[[Path, Path], None]:
    return lambda path, canary: torch.save(
        {"state_dict": STATE, "x": make(canary)}, path, **options
    )


PAYLOADS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "os.system": (_saved(lambda c: Call(os.system, f"touch {c}")), "posix.system"),
    "old format": (
        _saved(lambda c: Call(os.system, f"touch {c}"), _use_new_zipfile_serialization=False),
        "posix.system",
    ),
    "eval": (_saved(lambda c: Call(eval, f"open({str(c)!r}, 'w')")), "eval was not an allowed"),
    "exec": (_saved(lambda c: Call(exec, f"open({str(c)!r}, 'w')")), "exec was not an allowed"),
    "open": (_saved(lambda c: Call(open, str(c), "w")), "io.open was not an allowed"),
    "getattr": (
        _saved(lambda c: Call(getattr, argparse.Namespace, "__init__")),
        "asks for the attribute '__init__'",
    ),
    "getattr of a buffer": (
        _saved(lambda c: Call(getattr, HistoryBuffer, "__init__")),
        "asks for the attribute '__init__'",
    ),
    "path method": (_saved(lambda c: Call(Path.touch, c)), "not an allowed"),
    "in a Namespace": (
        _saved(lambda c: argparse.Namespace(x=Call(os.system, f"touch {c}"))),
        "posix.system",
    ),
    "torch.hub": (_saved(lambda c: Call(torch.hub.load, "a/b", "c")), "torch.hub.load"),
    "plain pickle": (
        lambda path, c: path.write_bytes(pickle.dumps(Call(os.system, f"touch {c}"))),
        "cannot be read",
    ),
    "zip slip": (_zip_slip, "not in a subdirectory"),
    "terabyte": (lambda path, c: _huge(path, c, True), "record size"),
    "terabyte, old format": (lambda path, c: _huge(path, c, False), "cannot be read"),
    "zip bomb": (_bomb, "more than the file holds"),
    "tar": (_tar, "cannot be read"),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_read__malicious_file_executes_nothing(name: str, tmp_path: Path) -> None:
    """Refused in less than 1 s and 200 MB, without torch's advice to load it anyway; the canary stays away."""
    make, message = PAYLOADS[name]
    canary, path = tmp_path / "canary", tmp_path / "x.pth"
    make(path, canary)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(ValueError, match=message) as caught:
        read_checkpoint(path)
    assert "Re-running" not in str(caught.value)
    assert time.perf_counter() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert list(tmp_path.iterdir()) == [path] and not canary.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<html></html>", "cannot be read as a checkpoint"),
        (b"PK\x03\x04" + bytes(100), "truncated: its table of contents is missing"),
        (bytes(100), "cannot be read as a checkpoint"),
    ],
)
def test_read__not_a_checkpoint(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_checkpoint(path)


def test_read__no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no checkpoint at"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(ValueError, match="is a folder"):
        read_checkpoint(tmp_path)


def test_read__cut_and_flipped_files_never_pass_for_others(tmp_path: Path) -> None:
    """100 cuts and 100 flipped bits; an error, or (a bit of padding) the very same tensors."""
    path, rng = tmp_path / "x.pth", np.random.default_rng(0)
    torch.save({"state_dict": STATE, "meta": {"epoch": 3}}, path)
    whole, refused = path.read_bytes(), 0
    for case in range(200):
        content = bytearray(whole)
        if case % 2:
            content = content[: rng.integers(len(content))]
        else:
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            loaded = read_checkpoint(path)
        except ValueError:
            refused += 1
            continue
        assert loaded["meta"] == {"epoch": 3}
        assert all(torch.equal(loaded["state_dict"][key], value) for key, value in STATE.items())
    assert refused >= 100


def test_read__safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"\xff")
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "safetensors", None)
        with pytest.raises(ValueError, match="pip install safetensors"):
            read_checkpoint(path)
    torch_format = pytest.importorskip("safetensors.torch")
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        read_checkpoint(path)
    torch_format.save_file(STATE, path)
    assert torch.equal(read_checkpoint(path)["a.weight"], STATE["a.weight"])


def test_save__leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise OSError("disk full")

    target = tmp_path / "new" / "x.pth"
    save_atomically({"a": 1}, target)
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_atomically({"a": 2}, target)
    assert list(target.parent.iterdir()) == [target] and read_checkpoint(target) == {"a": 1}
