"""Files and options for a campaign: good ones with damage, random programs, structures with wrong types, texts."""

import argparse
import io
import json
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import doors
import numpy as np
import official
import payloads
import tiny
import torch
from mmengine.logging import HistoryBuffer

from mmrel.registry import MODELS

Rng = np.random.Generator
Make = Callable[[Rng], bytes]


def saved(content: Any, **options: Any) -> bytes:
    """What ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def whole_files() -> list[bytes]:
    """Good files of several kinds, to damage."""
    torch.manual_seed(0)
    model = MODELS.build(tiny.dino())
    state = OrderedDict(model.state_dict())
    meta = {"epoch": 1, "iter": 4, "cfg": "model = dict(backbone=dict(img_size=16))", "seed": 0}
    layer = doors.Plain()
    stepper = torch.optim.AdamW(layer.parameters(), lr=0.01)
    layer.layer(torch.ones(1, 3)).sum().backward()
    stepper.step()
    optimizer = stepper.state_dict()
    optimizer["param_groups"][0]["initial_lr"] = 0.01
    hub = {
        "log_scalars": {"train/loss": HistoryBuffer([1.0, 2.0], [1, 1])},
        "runtime_info": {"iter": 4, "lr": np.float64(0.1)},
        "resumed_keys": {"train/loss": True},
    }
    training = {"meta": meta, "state_dict": state, "optimizer": optimizer, "message_hub": hub}
    training["param_schedulers"] = [{"last_step": 1, "_step_count": 2}]
    exported = {f"backbone.{k}": v for k, v in MODELS.build(tiny.vit()).state_dict().items()}
    sit = official.sit()
    args = argparse.Namespace(lr=0.1, path=Path("/a/b"))
    dino = {"teacher": state, "student": state, "args": args, "epoch": 3}
    return [
        saved(training),
        saved(training, _use_new_zipfile_serialization=False),
        saved({"state_dict": exported, "meta": {"img_size": 16, "patch_size": 4, "num_heads": 2}}),
        saved(dino),
        saved(state),
        saved(training | {"state_dict": layer.state_dict()}),
        saved(sit.content),
        saved(official.ibot().content),
    ]


def flipped(rng: Rng, whole: bytes) -> bytes:
    """Some bits turned."""
    content = bytearray(whole)
    for place in rng.integers(len(content), size=rng.integers(1, 9)):
        content[place] ^= 1 << int(rng.integers(8))
    return bytes(content)


def cut(rng: Rng, whole: bytes) -> bytes:
    """The end missing, or a piece in the middle."""
    first, last = sorted(rng.integers(len(whole), size=2).tolist())
    return whole[:first] if rng.random() < 0.5 else whole[:first] + whole[last:]


def spliced(rng: Rng, whole: bytes, other: bytes) -> bytes:
    """A piece replaced by one of another file."""
    first, last = sorted(rng.integers(len(whole), size=2).tolist())
    start = int(rng.integers(len(other)))
    return whole[:first] + other[start : start + last - first] + whole[last:]


def surgery(rng: Rng, whole: bytes) -> bytes:
    """A good archive with records renamed, doubled, emptied, swapped, compressed or with another program."""
    if whole[:2] != b"PK":
        return flipped(rng, whole)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        records = [(name, archive.read(name)) for name in archive.namelist()]
    for _ in range(rng.integers(1, 4)):
        i, j = rng.integers(len(records), size=2).tolist()
        name, content = records[i]
        records[i] = [
            (name, records[j][1]),
            (records[j][0], content),
            (name, b""),
            (name, content * 2),
            (f"../{name}", content),
            (f"/{name}", content),
            (name.replace("archive", "other"), content),
            (name, flipped(rng, content or b"\0")),
            ("archive/data.pkl", program(rng)),
            ("archive/constants.pkl", content),
        ][int(rng.integers(10))]
    return archived(rng, records)


def archived(rng: Rng, records: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if rng.random() < 0.3 else zipfile.ZIP_STORED
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", how) as archive:
        warnings.simplefilter("ignore")
        for name, content in records:
            archive.writestr(name, content)
    return buffer.getvalue()


NAMES = [
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch._tensor._rebuild_from_type_v2",
    "torch.FloatStorage",
    "torch.Size",
    "torch.device",
    "torch.float32",
    "collections.OrderedDict",
    "collections.Counter",
    "builtins.set",
    "builtins.getattr",
    "builtins.bytearray",
    "builtins.slice",
    "builtins.complex",
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "_codecs.encode",
    "argparse.Namespace",
    "pathlib.PosixPath",
    payloads.BUFFER,
    "posix.system",
]
TEXTS = [
    "storage",
    "0",
    "latin1",
    "f8",
    "<",
    "cpu",
    "state_dict",
    "_metadata",
    "a" * 300,
    "\u00e9",
    "",
]
OPERATIONS = [op for name in pickle.__all__ if isinstance(op := getattr(pickle, name), bytes)]


def program(rng: Rng) -> bytes:
    """A pickle of random operations, which mostly fit together."""
    parts = [b"\x80\x02"]
    for _ in range(int(rng.integers(3, 60))):
        draw = rng.integers(16)
        parts.append(
            payloads.name(str(rng.choice(NAMES)))
            if draw < 3
            else payloads.text(str(rng.choice(TEXTS)))
            if draw < 5
            else b"K" + bytes([int(rng.integers(256))])
            if draw < 7
            else b"\x8a\x08" + rng.bytes(8)
            if draw < 8
            else b"q" + bytes([int(rng.integers(4))])
            if draw < 9
            else b"h" + bytes([int(rng.integers(4))])
            if draw < 10
            else [
                b"(",
                b"}",
                b"]",
                b")",
                b"N",
                b"\x88",
                b"t",
                b"R",
                b"b",
                b"u",
                b"e",
                b"s",
                b"Q",
                b"\x81",
                b"\x85",
                b"\x86",
                b"\x87",
                b"a",
                b"d",
                b"l",
                b"2",
                b"0",
            ][int(rng.integers(22))]
            if draw < 15
            else OPERATIONS[int(rng.integers(len(OPERATIONS)))] + rng.bytes(int(rng.integers(5)))
        )
    return b"".join(parts) + b"."


def programmed(rng: Rng) -> bytes:
    """A random program in one of the formats."""
    content = program(rng)
    form = rng.integers(3)
    if form == 0:
        return archived(rng, [("archive/data.pkl", content), ("archive/version", b"3\n")])
    if form == 1:
        return payloads.HEAD + content + pickle.dumps([], 2)
    return content


VALUES: list[Callable[[Rng], Any]] = [
    lambda rng: None,
    lambda rng: bool(rng.integers(2)),
    lambda rng: int(rng.integers(-5, 100)),
    lambda rng: 2 ** int(rng.integers(400)),
    lambda rng: float(rng.choice([0.0, -1.5, float("nan"), float("inf"), 1e300])),
    lambda rng: str(rng.choice(TEXTS)),
    lambda rng: b"bytes",
    lambda rng: [],
    lambda rng: (),
    lambda rng: {},
    lambda rng: [1, [2, [3]]],
    lambda rng: {"a": {"b": 1}},
    lambda rng: {1: 2, None: 3},
    lambda rng: set("ab"),
    lambda rng: torch.ones(int(rng.integers(4)), 3),
    lambda rng: torch.ones(()),
    lambda rng: torch.full((2, 2), float("nan")),
    lambda rng: torch.ones(2, dtype=torch.int64),
    lambda rng: torch.ones(2, dtype=torch.complex64),
    lambda rng: torch.ones(0),
    lambda rng: torch.ones(1, 2, 3, 4),
    lambda rng: torch.ones(2, dtype=torch.bool),
    lambda rng: np.arange(4),
    lambda rng: np.float32(1),
    lambda rng: HistoryBuffer([1.0], [1]),
    lambda rng: argparse.Namespace(a=1),
    lambda rng: torch.float16,
    lambda rng: torch.device("cpu"),
    lambda rng: slice(1, 2),
    lambda rng: Path("/x"),
]


def mutated(rng: Rng, value: Any, chance: float) -> Any:
    """A structure in which values, keys and lengths are changed here and there."""
    if rng.random() < chance:
        return VALUES[int(rng.integers(len(VALUES)))](rng)
    if isinstance(value, dict):
        items = [(key, mutated(rng, item, chance)) for key, item in value.items()]
        if items and rng.random() < chance * 2:
            items.pop(int(rng.integers(len(items))))
        if items and rng.random() < chance:
            items.append((str(rng.choice(TEXTS)), items[0][1]))
        return dict(items)
    if isinstance(value, list):
        return [mutated(rng, item, chance) for item in value]
    if isinstance(value, torch.Tensor) and rng.random() < chance:
        shape = list(value.shape)
        rng.shuffle(shape)
        return torch.ones(shape[: int(rng.integers(len(shape) + 1))])
    return value


def structured(rng: Rng, wholes: list[Any]) -> bytes:
    """A well-made file of a content that is wrong somewhere."""
    content = wholes[int(rng.integers(len(wholes)))]
    chance = float(rng.choice([0.003, 0.02, 0.1]))
    return saved(mutated(rng, content, chance), _use_new_zipfile_serialization=rng.random() < 0.8)


def hostile_text(rng: Rng) -> bytes:
    """JSON, YAML, lines, or nothing of the kind."""
    texts = [
        json.dumps({"loss": 1.0, "step": 2, "path": "a", "run": "b", "reason": "c"}) + "\n",
        json.dumps({"model": {"type": "x", "backbone": {"a": [1, 2]}}, "_base_": ["a.py"]}),
        "a: !!python/object/apply:os.getcwd []\n",
        "&a [*a, *a]\n",
        "a: {b: [1, 2, {c: d}]}\n_base_: ../x.py\n",
        "[" * int(rng.choice([10, 2000, 100_000])),
        "../../x\nCON\n/etc/passwd\n\0\nok\n",
        "ok\n",
        "../escaped\n",
        "/tmp/escaped\n",
        "x_1 1\nok 1\n",
        "ok.png\n../images/ok.png\n",
        "x 1\ny 2\n",
        "1e999 NaN [null, true]",
        "{{ fileDirname }} {{ _base_.x }} {{$HOME:x}}",
        "\ufeff{}",
        '{"step": "a", "loss": [1]}\n',
    ]
    text = "".join(rng.choice(texts, size=rng.integers(1, 4)))
    content = text.encode()
    return flipped(rng, content) if rng.random() < 0.5 else content


def option(rng: Rng) -> str:
    """An argument of --cfg-options."""
    keys = [
        "model",
        "model.backbone.type",
        "hooks.0.type",
        "hooks.9",
        "train_dataloader",
        "train_dataloader.batch_size",
        "data_root",
        "a.b.c",
        "hooks.x",
        "",
        ".",
        "model..x",
        "_delete_",
        "train_dataloader.dataset",
        "hooks",
        "model.backbone.arch.num_layers",
    ]
    values = [
        "1",
        "[1,2]",
        "(1,",
        "[[[]]]",
        "None",
        "x=y",
        "",
        "'",
        "1e999",
        "{'a':1}",
        "[a,(b,c)]",
        "_delete_",
        "[" * 500 + "]" * 500,
        "1" * 5000,
        "a," * 3000,
        "]",
        "\0",
        "\u00e9",
        "True",
        "dict(a=1)",
        "[,]",
        "(,)",
    ]
    text = f"{rng.choice(keys)}{rng.choice(['=', '=', '=', ''])}{rng.choice(values)}"
    if rng.random() < 0.3:
        place = int(rng.integers(len(text) + 1))
        text = text[:place] + chr(int(rng.integers(1, 1000))) + text[place:]
    return text


def makers() -> dict[str, Make]:
    """The kinds of files, by name."""
    wholes = whole_files()
    contents = [torch.load(io.BytesIO(whole), weights_only=False) for whole in wholes]

    def any_of(rng: Rng) -> bytes:
        return wholes[int(rng.integers(len(wholes)))]

    return {
        "bits": lambda rng: flipped(rng, any_of(rng)),
        "cut": lambda rng: cut(rng, any_of(rng)),
        "splice": lambda rng: spliced(rng, any_of(rng), any_of(rng)),
        "archive": lambda rng: surgery(rng, any_of(rng)),
        "program": programmed,
        "structure": lambda rng: structured(rng, contents),
        "text": hostile_text,
    }
