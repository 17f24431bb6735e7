"""What the kill campaign looks at: nothing that was completed is lost, and the end is as if nobody had disturbed it."""

import signal
from pathlib import Path
from typing import Any

import torch
from kill_runs import BOARD

from mmrel.engine.checkpointing.choice import by_step, pointed, unreadable_reason
from mmrel.utils.checkpoint_file import read_checkpoint

EPOCH_LENGTH = {"toy": 6, "toy_by_epoch": 6, "sere": 3}
EXITS = {signal.SIGTERM: 143, signal.SIGINT: 130}


def newest(folder: Path, length: int) -> dict[str, Any] | None:
    """The checkpoint that a resume takes."""
    for path in [pointed(folder, folder), *by_step(folder, "iter_{}.pth", False, length)]:
        if path is not None and path.exists() and unreadable_reason(path) is None:
            return read_checkpoint(path)
    return None


def check_files(kind: str, folder: Path) -> list[str]:
    """What is lost of what had been completed."""
    found = newest(folder, EPOCH_LENGTH[kind])
    step = found["meta"]["iter"] if found else 0
    faults = (
        [f"step {BOARD.saved} was saved, but resume takes {step}"] if step < BOARD.saved else []
    )
    best = [path for path in folder.glob("best_*.pth") if _is_whole(path)]
    return faults + (["the best checkpoint is lost"] if BOARD.best and not best else [])


def _is_whole(path: Path) -> bool:
    try:
        return "state_dict" in read_checkpoint(path)
    except (OSError, ValueError):
        return False


def check_stop(kind: str, folder: Path, number: int, code: int, running: int) -> list[str]:
    """SIGTERM or SIGINT in training: the step that was running is finished and saved."""
    if code == 0 and (folder / "final.pth").exists():
        return []
    if code != EXITS[number]:
        return [f"{signal.Signals(number).name} in training gave exit code {code}"]
    found = newest(folder, EPOCH_LENGTH[kind])
    step = found["meta"]["iter"] if found else 0
    if step != BOARD.done or not running <= step <= running + 1:
        return [f"{running} was running and {BOARD.done} done, but {step} is saved"]
    return []


def read_losses(folder: Path) -> dict[int, set[str]]:
    """Every loss that was ever computed, by step; a line that a kill cut is left out."""
    losses: dict[int, set[str]] = {}
    for line in (folder / "losses.txt").read_text().splitlines(keepends=True):
        if line.endswith("\n") and len(line.split()) == 2:
            step, value = line.split()
            losses.setdefault(int(step), set()).add(value)
    return losses


def check_end(folder: Path, whole: Path) -> list[str]:
    """Bitwise comparison with the undisturbed run."""
    faults = []
    if read_losses(folder) != read_losses(whole):
        faults.append("losses differ")
    own, expected = (torch.load(path / "final.pth") for path in (folder, whole))
    if any(not torch.equal(own["weights"][key], v) for key, v in expected["weights"].items()):
        faults.append("weights differ")
    faults += [
        f"{key} differs: {own[key]} for {expected[key]}"
        for key in ("best", "best_file", "curves")
        if own[key] != expected[key]
    ]
    if [path.name for path in folder.glob("best_*.pth")] != [expected["best_file"]]:
        faults.append("best files are left over or missing")
    if left := [
        *folder.glob(".*.tmp"),
        *folder.glob("iter_*.pth" if "epoch" in str(folder) else "-"),
    ]:
        faults.append(f"left over: {[path.name for path in left]}")
    return faults
