"""Kill training runs at random moments, resume them, and compare with runs that nobody disturbed.

    python tests/campaigns/kill.py --kills 300

Signals are SIGKILL, SIGTERM and SIGINT; the moments are random in time, in the middle of a step, a save, a save of the
best checkpoint or an evaluation, and (SIGKILL) before and after each call that changes the disk. After every kill, the
newest readable checkpoint must be the newest that was completed, and a best one must exist if one was completed;
after SIGTERM and SIGINT in training it must be that of the step that was running, and the exit code 143 or 130. At
the end of every run all losses, the weights, the best score and the curves must be bitwise those of the undisturbed
run.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("", "engine", "campaigns")]

import torch  # noqa: E402
from kill_checks import EXITS, check_end, check_files, check_stop  # noqa: E402
from kill_runs import (  # noqa: E402
    BEST,
    BOARD,
    ENDED,
    EVALUATION,
    PHASES,
    RUNS,
    SAVE,
    STARTING,
    STEP,
    train,
)
from test_knn_hook import make_images  # noqa: E402

PATIENCE = 120
"""Seconds after which a child that does not end counts as hung."""


@dataclass
class Tally:
    """What happened, and what should not have."""

    kills: Counter = field(default_factory=Counter)
    phases: Counter = field(default_factory=Counter)
    stopped: Counter = field(default_factory=Counter)
    runs: int = 0
    faults: list[str] = field(default_factory=list)


def start(kind: str, folder: Path, images: Path) -> int:
    """Fork a child, in a process group of its own, that trains; it inherits everything imported."""
    process = os.fork()
    if process:
        return process
    os.setsid()
    code = 1
    try:
        with (folder / "log.txt").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        torch.set_num_threads(1)
        train(kind, folder, images)
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        _end_workers()
        sys.stdout.flush()
        os._exit(code)


def _end_workers() -> None:
    import multiprocessing

    for worker in multiprocessing.active_children():
        worker.kill()


def wait_for(process: int, until: float) -> int | None:
    """The child's exit code (negative: the signal that ended it), or ``None`` at that time."""
    while time.monotonic() < until:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.0002)
    return None


def strike(process: int, number: int, rng: random.Random, seconds: float) -> int | None:
    """Send the signal at a random moment; returns the exit code if the child ended before that."""
    phase = rng.choice((None, STEP, SAVE, BEST, EVALUATION))
    begin = time.monotonic()
    if phase is None:
        code = wait_for(process, begin + rng.uniform(0, seconds))
    else:
        skip = rng.uniform(0, seconds / 2)
        code = wait_for(process, begin + skip)
        while code is None and BOARD.phase != phase and time.monotonic() < begin + 3 * seconds:
            code = wait_for(process, time.monotonic() + 0.0004)
        if code is None:
            code = wait_for(process, time.monotonic() + rng.uniform(0, 0.004))
    if code is None:
        BOARD.signalled = 1 + max(BOARD.running, BOARD.done)
        signal_child(process, number, group=rng.random() < 0.5)
    return code


def signal_child(process: int, number: int, group: bool) -> None:
    """Signal the child, with its workers if ``group``; in its first moment it has no group of its own."""
    if group:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, number)
            return
    os.kill(process, number)


def disturb(
    kind: str, folder: Path, images: Path, number: int, rng: random.Random, seconds: float
) -> tuple[int, int | None, int]:
    """One child and one kill; returns its exit code, the phase it was struck in and the step running then."""
    saved, best = BOARD.saved, BOARD.best
    BOARD.clear()
    BOARD.saved, BOARD.best = saved, best
    fused = number == signal.SIGKILL and rng.random() < 0.4
    BOARD.fuse = rng.randint(1, 60) if fused else 0
    process = start(kind, folder, images)
    code = wait_for(process, time.monotonic() + PATIENCE) if fused else None
    if code is None:
        code = strike(process, number, rng, seconds)
    struck = BOARD.phase if BOARD.signalled else None
    running = BOARD.signalled - 1
    if code is None:
        code = wait_for(process, time.monotonic() + PATIENCE)
    if code is None:
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        raise RuntimeError(f"{kind}: the child hangs after {signal.Signals(number).name}")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)  # workers of a killed child
    return code, struck, running


def undisturbed(kind: str, root: Path, images: Path) -> tuple[Path, float]:
    """A whole run and how long it took."""
    folder = root / kind / "whole"
    folder.mkdir(parents=True)
    BOARD.clear()
    begin = time.monotonic()
    code = wait_for(start(kind, folder, images), begin + PATIENCE)
    if code != 0:
        raise RuntimeError((folder / "log.txt").read_text())
    return folder, time.monotonic() - begin


def campaign(kinds: list[str], plan: list[int], seed: int, root: Path) -> Tally:
    """Strike once for each signal of the plan, in as many runs as that takes, and finish every run."""
    rng, tally = random.Random(seed), Tally()
    images = make_images(root / "images", 6)
    wholes = {kind: undisturbed(kind, root, images) for kind in kinds}
    rng.shuffle(plan)
    while plan:
        kind = kinds[tally.runs % len(kinds)]
        whole, seconds = wholes[kind]
        folder = root / kind / str(tally.runs)
        folder.mkdir()
        BOARD.clear()
        tally.runs += 1
        while not (folder / "final.pth").exists():
            number = plan[-1] if plan else 0
            one_strike(kind, folder, images, number, rng, seconds, tally, plan)
        tally.faults += [f"{folder}: {fault}" for fault in check_end(folder, whole)]
    return tally


def one_strike(
    kind: str,
    folder: Path,
    images: Path,
    number: int,
    rng: random.Random,
    seconds: float,
    tally: Tally,
    plan: list[int],
) -> None:
    """One child, struck unless the plan is through; counts and checks."""
    if not number:
        if wait_for(start(kind, folder, images), time.monotonic() + PATIENCE) != 0:
            raise RuntimeError((folder / "log.txt").read_text()[-3000:])
        return
    code, struck, running = disturb(kind, folder, images, number, rng, seconds)
    if struck is None:
        if code != 0:
            raise RuntimeError((folder / "log.txt").read_text()[-3000:])
        return
    faults = check_files(kind, folder)
    if number in EXITS and struck not in (STARTING, ENDED):
        faults += check_stop(kind, folder, number, code, running)
        tally.stopped[signal.Signals(number).name] += code == EXITS[number]
    tally.faults += [f"{folder}: {fault}" for fault in faults]
    if number in EXITS and (struck in (STARTING, ENDED) or code == 0):
        return  # not counted: before the training nothing is promised, after its last step nothing is left to stop
    plan.pop()
    tally.kills[signal.Signals(number).name] += 1
    tally.phases[PHASES[struck]] += 1


def report(tally: Tally) -> str:
    """The summary."""
    lines = [
        f"kills: {sum(tally.kills.values())} ({dict(tally.kills)}) in {tally.runs} runs",
        f"struck during: {dict(tally.phases)}",
        f"ended with a checkpoint of the running step: {dict(tally.stopped)}",
        f"faults (lost, torn, different): {len(tally.faults)}",
        *tally.faults[:20],
    ]
    return "\n".join(lines)


def main() -> int:
    """Run the campaign of the command line; the exit code is 1 if anything was lost or differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--kills", type=int, default=300, help="a fifth of them SIGTERM, a fifth SIGINT"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", nargs="+", choices=list(RUNS), default=list(RUNS))
    args = parser.parse_args()
    fifth = args.kills // 5
    plan = [signal.SIGTERM] * fifth + [signal.SIGINT] * fifth
    plan += [signal.SIGKILL] * (args.kills - len(plan))
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        tally = campaign(args.runs, plan, args.seed, Path(root))
    print(report(tally))
    print(f"{time.monotonic() - begin:.0f} s")
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
