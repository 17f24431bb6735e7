"""Which checkpoint a run resumes from: the pointer's, then the highest step, whatever the files' dates say.

The pointer ``last_checkpoint`` holds a whole path, because MMEngine and others read it so. Here its file name alone
counts: a work dir that was moved or copied resumes from its own files, never from those at the old place.
"""

import pickle
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmrel.utils.checkpoint_file import read_checkpoint

POINTER = "last_checkpoint"
STOCK_NAMES = {"epoch_{}.pth": True, "iter_{}.pth": False}
"""Patterns of names, and whether their number counts epochs."""


def unreadable_reason(path: Path) -> str | None:
    """Why a run cannot resume from this file, or ``None`` if it can.

    The file is read in full, its checksums are compared, and nothing in it is executed.
    """
    try:
        return _content_fault(read_checkpoint(path))
    except (
        Exception
    ) as error:  # whatever may lie in a work dir: one bad file must not end the search
        if isinstance(error.__cause__, pickle.UnpicklingError):
            return f"it holds more than tensors and plain types ({_first_line(error)})"
        return f"it is missing or damaged ({type(error).__name__}: {_first_line(error)})"


def _content_fault(checkpoint: Any) -> str | None:
    if not isinstance(checkpoint, dict):
        return f"it holds a {type(checkpoint).__name__}, not the dict of a checkpoint"
    wanted = ("meta", "state_dict", "optimizer", "message_hub")
    if missing := [key for key in wanted if key not in checkpoint]:
        return f"it has no {', '.join(missing)}"
    if wrong := [key for key in wanted if not isinstance(checkpoint[key], dict)]:
        return f"its {', '.join(wrong)} should be a dict"
    position = [checkpoint["meta"].get(key) for key in ("epoch", "iter")]
    if not all(isinstance(number, int) and number >= 0 for number in position):
        return f"its epoch and iteration are {position}, not two whole numbers"
    return None


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or "no detail"


def by_step(folder: Path, template: str, by_epoch: bool, epoch_length: int) -> list[Path]:
    """The folder's checkpoints, the one with the most iterations first.

    Args:
        folder: where they lie.
        template: the run's own pattern of names, with ``{}`` for the number.
        by_epoch: whether that number counts epochs.
        epoch_length: iterations per epoch, to compare numbers of the two kinds.
    """
    found: dict[Path, tuple[int, bool]] = {}
    for pattern, in_epochs in {**STOCK_NAMES, template: by_epoch}.items():
        number = re.compile(re.escape(pattern).replace(r"\{\}", r"(\d+)"))
        for path in folder.iterdir() if folder.is_dir() else ():
            if match := number.fullmatch(path.name):
                step = int(match.group(1)) * (epoch_length if in_epochs else 1)
                found[path] = (step, in_epochs)
    return sorted(found, key=lambda path: found[path], reverse=True)


def pointed(work_dir: Path, folder: Path) -> Path | None:
    """The file of ``folder`` that the work dir's pointer names, whatever folder the pointer says."""
    try:
        name = Path((work_dir / POINTER).read_text(errors="replace").strip()).name
    except OSError:
        return None
    return folder / name if name and name.isprintable() else None


def in_order(first: Path | None, others: Iterable[Path]) -> list[Path]:
    """``first``, if there is one, before all others."""
    return [*([first] if first else []), *(path for path in others if path != first)]
