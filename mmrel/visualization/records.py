"""What a run wrote about itself: MMEngine's ``scalars.json``, one JSON object per line."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Records = list[dict[str, Any]]


def read_records(run_dir: Path) -> Records:
    """All scalars of a run, oldest first; those of a resumed run follow those of its first part.

    Args:
        run_dir: the run's work dir, which holds ``<timestamp>/vis_data/scalars.json``.

    Raises:
        FileNotFoundError: the run wrote none.
        ValueError: a line is no JSON object.
    """
    files = sorted(run_dir.glob("*/vis_data/scalars.json"))
    if not files:
        raise FileNotFoundError(
            f"There are no scalars in '{run_dir}' (looked for */vis_data/scalars.json). The run did not "
            "get as far as its first log entry, or the folder is another one; run it again."
        )
    return [record for file in files for record in _records(file)]


def _records(file: Path) -> Records:
    """The objects of one file; a last line that a killed run left incomplete is passed over."""
    found: Records = []
    lines = file.read_bytes().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line) if line.strip() else {}
        except (ValueError, RecursionError):
            record = {} if number == len(lines) else None
        if not isinstance(record, dict):
            raise ValueError(
                f"Line {number} of '{file}' is no record of scalars: {line[:60]!r}. The file is damaged; remove the "
                "line, or run again."
            )
        found.append(record)
    return [record for record in found if record]


def series(records: Records, name: str, over: str = "step") -> NDArray[np.float64]:
    """``(n, 2)``: ``over`` and value of each record that has ``name``; the last record of a position counts."""
    points = {_number(r, over): _number(r, name) for r in records if name in r and over in r}
    return np.array(sorted(points.items()), dtype=np.float64).reshape(-1, 2)


def last_value(records: Records, name: str) -> float:
    """The newest value of a scalar.

    Raises:
        KeyError: no record has it.
    """
    for record in reversed(records):
        if name in record:
            return _number(record, name)
    known = sorted({key for record in records for key in record})
    raise KeyError(f"no record has {name!r}; the run wrote: {', '.join(known)}")


def _number(record: dict[str, Any], name: str) -> float:
    value = record[name]
    if not isinstance(value, int | float) or (isinstance(value, int) and abs(value) > 2**63):
        raise ValueError(f"{name} is {str(value)[:60]!r} in a record; wanted a number. Run again.")
    return float(value)


def smooth(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Running mean over the last ``window`` values."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def names_with(records: Records, prefix: str) -> Sequence[str]:
    """The scalars whose name starts so, in order of appearance."""
    return list(dict.fromkeys(k for record in records for k in record if k.startswith(prefix)))
