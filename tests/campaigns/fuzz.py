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
import logging
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "checkpoints"), str(TESTS.parent)]

import doors  # noqa: E402
import hostile  # noqa: E402

LIMIT = 10
PARAGRAPH = 6000


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


class Campaign:
    """Runs cases and collects what is wrong."""

    def __init__(self, seed: int, folder: Path) -> None:
        (folder / "work").mkdir()
        self.seed = seed
        self.folder = folder
        self.makers = hostile.makers()  # before torch.load is replaced
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
            kinds = (
                list(self.makers)
                if door in self.others or case % 20 == 0
                else list(self.makers)[:-1]
            )
            weights = [3 if kind in ("structure", "text") else 1 for kind in kinds]
            kind = str(rng.choice(kinds, p=np.array(weights) / sum(weights)))
            path = self.folder / f"{case}.pth"
            path.write_bytes(self.makers[kind](rng))
            enter = self.checkpoints.get(door) or self.others[door]
            self._try(f"file {case}: {kind} -> {door}", door, partial(enter, path))
            path.unlink(missing_ok=True)

    def options(self, count: int) -> None:
        """So many arguments of --cfg-options, parsed and merged."""
        for case in range(count):
            text = hostile.option(np.random.default_rng((self.seed, case, 1)))
            self._try(f"option {case}: {text[:80]!r}", "--cfg-options", partial(doors.merge, text))

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
        lines.append(
            f"{sum(self.outcomes.values())} cases, seed {self.seed}; slowest {self.slowest}"
        )
        return "\n".join([*lines, *self.faults[:40], f"{len(self.faults)} faults"])


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def run(cases: int, options: int, seed: int, only: str = "") -> Campaign:
    """A campaign in a temporary folder, whose log stays silent."""
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(seed, Path(folder))
        logging.disable(logging.CRITICAL)
        try:
            with (
                Path(os.devnull).open("w") as nowhere,
                contextlib.redirect_stdout(nowhere),
                contextlib.redirect_stderr(nowhere),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")
                campaign.files(cases, only)
                campaign.options(options if not only else 0)
            if strays := [path.name for path in Path(folder).iterdir() if path.name != "work"]:
                campaign.faults.append(f"files were written outside: {strays}")
        except KeyboardInterrupt:
            campaign.faults.append("interrupted before the end")
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
    signal.signal(signal.SIGTERM, _interrupt)
    campaign = run(
        args.cases, args.cases // 5 if args.options is None else args.options, args.seed, args.only
    )
    print(campaign.report())
    return 1 if campaign.faults else 0


if __name__ == "__main__":
    sys.exit(main())
