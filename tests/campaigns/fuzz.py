"""Damaged, crafted and random files and options, through every entry point that reads one.

    python tests/campaigns/fuzz.py                             # 100,000 files, 20,000 options: some 30 minutes
    python tests/campaigns/fuzz.py --cases 2000 --seed 7       # fewer, others
    python tests/campaigns/fuzz.py --cases 500 --only resume   # one entry point

Each case is a function of (seed, number). A case passes if the entry point reads the file or answers with a declared
error of one paragraph, within ten seconds. Everything else is printed with its number, kind and traceback, and the
exit code is 1. Files are written below a temporary folder, nothing else.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import pickle
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "checkpoints"), str(TESTS.parent)]

import doors
import official
import payloads
import tiny
from mmengine.logging import HistoryBuffer

from mmrel.registry import MODELS

LIMIT = 10
PARAGRAPH = 6000
Rng = np.random.Generator
Make = Callable[[Rng], bytes]


class Hang(BaseException):
    """A case took too long. No ``except Exception`` in between catches it."""


@contextlib.contextmanager
def watchdog(seconds: int) -> Iterator[None]:
    """Raise :class:`Hang` in the main thread after so many seconds."""

    def ring(*_: Any) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


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


# Damage: of bytes, of an archive's records, of a program, and structures with wrong types.


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
TEXTS = ["storage", "0", "latin1", "f8", "<", "cpu", "state_dict", "_metadata", "a" * 300, "\u00e9", ""]
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
            else [b"(", b"}", b"]", b")", b"N", b"\x88", b"t", b"R", b"b", b"u", b"e", b"s", b"Q",
                  b"\x81", b"\x85", b"\x86", b"\x87", b"a", b"d", b"l", b"2", b"0"][int(rng.integers(22))]
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
    keys = ["model", "model.backbone.type", "hooks.0.type", "hooks.9", "train_dataloader",
            "train_dataloader.batch_size", "data_root", "a.b.c", "hooks.x", "", ".", "model..x", "_delete_",
            "train_dataloader.dataset", "hooks", "model.backbone.arch.num_layers"]
    values = ["1", "[1,2]", "(1,", "[[[]]]", "None", "x=y", "", "'", "1e999", "{'a':1}", "[a,(b,c)]", "_delete_",
              "[" * 500 + "]" * 500, "1" * 5000, "a," * 3000, "]", "\0", "\u00e9", "True", "dict(a=1)", "[,]", "(,)"]
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


class Campaign:
    """Runs cases and collects what is wrong."""

    def __init__(self, seed: int, folder: Path) -> None:
        (folder / "work").mkdir()
        self.seed = seed
        self.folder = folder
        self.makers = makers()  # before torch.load is replaced
        self.checkpoints = doors.checkpoint_doors(folder / "work")
        self.others = doors.other_doors(folder / "work")
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.faults: list[str] = []
        self.slowest = (0.0, "")

    def files(self, count: int, only: str = "") -> None:
        """So many files, each through one door: those for checkpoints in turn, four times as often as others."""
        names = [name for name in (*self.checkpoints, *self.others) if only in name]
        turns = [n for n in names for _ in range(4 if n in self.checkpoints else 1)]
        for case in range(count):
            rng = np.random.default_rng((self.seed, case))
            door = turns[case % len(turns)]
            kinds = list(self.makers) if door in self.others or case % 20 == 0 else list(self.makers)[:-1]
            weights = [3 if kind in ("structure", "text") else 1 for kind in kinds]
            kind = str(rng.choice(kinds, p=np.array(weights) / sum(weights)))
            path = self.folder / f"{case}.pth"
            path.write_bytes(self.makers[kind](rng))
            enter = self.checkpoints.get(door) or self.others[door]
            self._try(f"file {case}: {kind} -> {door}", door, lambda: enter(path))
            path.unlink(missing_ok=True)

    def options(self, count: int) -> None:
        """So many arguments of --cfg-options, parsed and merged."""
        for case in range(count):
            text = option(np.random.default_rng((self.seed, case, 1)))
            self._try(f"option {case}: {text[:80]!r}", "--cfg-options", lambda: doors.merge(text))

    def _try(self, name: str, door: str, enter: Callable[[], Any]) -> None:
        start = time.perf_counter()
        try:
            with watchdog(LIMIT):
                outcome, message = doors.try_door(lambda _: enter(), None)
            if len(message) > PARAGRAPH or (outcome == "refused" and not message.strip()):
                self.faults.append(f"{name}\nno paragraph: {message[:300]!r}")
        except Hang:
            outcome = "hang"
            self.faults.append(f"{name}\nhangs:\n{traceback.format_exc()[-1500:]}")
        except Exception:
            outcome = "undeclared"
            self.faults.append(f"{name}\n{traceback.format_exc()[-1500:]}")
        self.outcomes[door, outcome] += 1
        self.slowest = max(self.slowest, (time.perf_counter() - start, name))

    def report(self) -> str:
        """Counts by entry point, the slowest case, and the faults."""
        lines = [f"{'entry point':28s}{'read':>8s}{'refused':>9s}{'undeclared':>12s}{'hang':>6s}"]
        for door in dict.fromkeys(door for door, _ in self.outcomes):
            counts = [self.outcomes[door, o] for o in ("read", "refused", "undeclared", "hang")]
            lines.append("{:28s}{:8d}{:9d}{:12d}{:6d}".format(door, *counts))
        lines.append(f"{sum(self.outcomes.values())} cases, seed {self.seed}; slowest {self.slowest}")
        return "\n".join([*lines, *self.faults[:40], f"{len(self.faults)} faults"])


def run(cases: int, options: int, seed: int, only: str = "") -> Campaign:
    """A campaign in a temporary folder, whose log stays silent."""
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(seed, Path(folder))
        logging.disable(logging.CRITICAL)
        try:
            with (
                open(os.devnull, "w") as nowhere,
                contextlib.redirect_stdout(nowhere),
                contextlib.redirect_stderr(nowhere),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")
                campaign.files(cases, only)
                campaign.options(options if not only else 0)
            if strays := [path.name for path in Path(folder).iterdir() if path.name != "work"]:
                campaign.faults.append(f"files were written outside: {strays}")
        finally:
            logging.disable(logging.NOTSET)
    return campaign


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Fuzz every entry point that reads a file.")
    parser.add_argument("--cases", type=int, default=100_000, help="files")
    parser.add_argument("--options", type=int, help="values of --cfg-options (default: cases / 5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="entry points whose name holds this")
    args = parser.parse_args()
    torch.set_num_threads(1)
    campaign = run(args.cases, args.cases // 5 if args.options is None else args.options, args.seed, args.only)
    print(campaign.report())
    return 1 if campaign.faults else 0


if __name__ == "__main__":
    sys.exit(main())
