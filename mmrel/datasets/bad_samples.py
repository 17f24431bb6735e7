"""The list of files that could not be read, one JSON line each, and a limit on their number."""

import fcntl
import json
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from mmengine.logging import print_log


class UnreadableImageError(Exception):
    """A file cannot be used as an image.

    Args:
        path: the file.
        reason: why, in one line.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class TooManyBadSamplesError(RuntimeError):
    """More unreadable files than the data set allows."""


def allowed_bad_samples(size: int, fraction: float, minimum: int) -> int:
    """``max(minimum, ceil(fraction * size))``: how many unreadable files are tolerated."""
    return max(minimum, math.ceil(fraction * size))


class BadSampleLog:
    """Appends unreadable files to a JSON-lines file that all workers of all processes share.

    Each line has ``path``, ``index``, ``reason`` and ``run``. A path is listed once per run,
    whoever meets it
    first: the file is locked while it is looked through and appended to (bad files are few).
    Without a file, only this process's own finds are counted.

    Args:
        file: the list, or ``None``. Its folder must exist.
        run: name of this run; lines of other runs in the same file do not count.
    """

    def __init__(self, file: str | Path | None = None, run: str = "") -> None:
        self.file = None if file is None else Path(file)
        self.run = run
        self.paths: set[str] = set()

    def record(self, path: str, index: int, reason: str) -> bool:
        """List a file unless it is listed already.

        Args:
            path: the file.
            index: its position in the data set.
            reason: why it cannot be read.

        Returns:
            Whether it was new to this process. ``len(self.paths)`` then is the number known to the
            run.
        """
        if path in self.paths:
            return False
        if self.file is not None:
            self._append({"path": path, "index": index, "reason": reason, "run": self.run})
        self.paths.add(path)
        return True

    def _append(self, entry: dict[str, Any]) -> None:
        assert self.file is not None
        try:
            with self.file.open("a+", encoding="utf-8", errors="replace") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                self.paths.update(self._listed(stream))
                if entry["path"] not in self.paths:
                    stream.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise RuntimeError(
                f"cannot list the unreadable file {entry['path']} in {self.file}: "
                f"{error.strerror}; give a work_dir that is writable and has free space"
            ) from error

    def _listed(self, stream: TextIO) -> Iterator[str]:
        stream.seek(0)
        for entry in map(_parse, stream):
            if entry.get("run") == self.run:
                yield entry["path"]
        stream.seek(0, os.SEEK_END)


def _parse(line: str) -> dict[str, Any]:
    """One entry; a line that a killed process left incomplete, or another one wrote, counts as none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    texts = isinstance(entry, dict) and all(
        isinstance(entry.get(name), str) for name in ("path", "reason", "run")
    )
    return entry if texts else {}


def read_bad_samples(file: str | Path, run: str | None = None) -> list[dict[str, Any]]:
    """The entries of a list, of one run or of all; empty if there is no such file."""
    if not Path(file).exists():
        return []
    with Path(file).open(encoding="utf-8", errors="replace") as stream:
        entries = [entry for entry in map(_parse, stream) if entry]
    return [entry for entry in entries if run is None or entry["run"] == run]


class BadSampleLimit:
    """Lists the unreadable files that a data set meets, and stops the run when there are too many.

    Args:
        fraction: share of unreadable files that is tolerated.
        minimum: number of unreadable files that is always tolerated.
    """

    def __init__(self, fraction: float, minimum: int) -> None:
        if not 0 <= fraction <= 1 or minimum < 0:
            raise ValueError(
                f"max_bad_fraction is {fraction} and min_bad_allowed is {minimum}; "
                "give a share in [0, 1] and a number of files, 0 or more"
            )
        self.fraction = fraction
        self.minimum = minimum
        self._log = BadSampleLog()

    def allowed(self, size: int) -> int:
        """How many of so many images may be unreadable."""
        return allowed_bad_samples(size, self.fraction, self.minimum)

    def report(
        self,
        error: UnreadableImageError,
        index: int,
        size: int,
        place: str,
        file: str | None,
        run: str,
    ) -> None:
        """List a file.

        Args:
            error: names it and says why.
            index: its position in the data set.
            size: of the data set.
            place: what to call the data set.
            file: the list, or ``None``; it may change between two reports.
            run: name of the run.

        Raises:
            TooManyBadSamplesError: it is one too many.
        """
        log = self._connected(file, run)
        if log.record(error.path, index, error.reason) and log.file is None:
            print_log(f"unreadable file skipped: {error}", "current", logging.WARNING)
        if len(log.paths) > self.allowed(size):
            raise TooManyBadSamplesError(
                f"{len(log.paths)} of {size} files in {place} are unreadable, the "
                f"latest is {error}; at most {self.allowed(size)} are allowed: remove or repair the files "
                f"listed in {log.file or 'the log'}, or raise max_bad_fraction or min_bad_allowed "
                "of the data set"
            )

    def _connected(self, file: str | None, run: str) -> BadSampleLog:
        """The log of this process, made anew when another file or run is named."""
        path = None if file is None else Path(file)
        if (self._log.file, self._log.run) != (path, run):
            self._log = BadSampleLog(path, run)
        return self._log


def connect_bad_sample_log(dataset: Any, file: str | Path, run: str) -> None:
    """Tell every data set inside ``dataset`` (wrappers included) where to list unreadable files.

    It must be called before a loader's workers start, because they get a copy of the data set.

    Args:
        dataset: a data set or a wrapper of data sets.
        file: the list.
        run: name of the run.
    """
    if hasattr(dataset, "bad_samples_file"):
        dataset.bad_samples_file = str(file)
        dataset.bad_samples_run = run
    for inner in (getattr(dataset, "dataset", None), *getattr(dataset, "datasets", ())):
        if inner is not None:
            connect_bad_sample_log(inner, file, run)
