"""A process whose output goes into a log and, line by line, to whoever shows it."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Show = Callable[[str], None]

GIVE_WAY = 5
"""Added to the niceness of a process that gives way: it gets a quarter of a core that another one wants too."""


class LoggedProcess:
    """A Python process that has been started.

    Args:
        arguments: after the interpreter.
        folder: that it runs in.
        environment: variables to set beside the present ones.
        log: file that everything it prints is kept in.
        show: called with each line, from a thread.
        gives_way: to run on what other processes leave of the cores.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
        show: Show,
        gives_way: bool = False,
    ) -> None:
        self.ended = False
        self.seconds = 0.0
        self._show = show
        log.parent.mkdir(parents=True, exist_ok=True)
        self._begun = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if gives_way:
            self._give_way()
        self._reader = threading.Thread(target=self._read, args=(log,), daemon=True)
        self._reader.start()

    def _give_way(self) -> None:
        """Lower the priority while there is one thread, from which later ones inherit it."""
        if not hasattr(os, "setpriority"):
            return  # Windows: only a matter of speed
        with contextlib.suppress(ProcessLookupError):  # over already
            pid = self._process.pid
            os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid) + GIVE_WAY)

    def _read(self, log: Path) -> None:
        assert self._process.stdout is not None
        with log.open("w") as file:
            for line in self._process.stdout:
                file.write(line)
                file.flush()
                self._show(line.rstrip("\n"))

    @property
    def code(self) -> int | None:
        """The exit code, or ``None`` while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """Stop it if it still runs, which ``ended`` then says, and wait for its output."""
        if self._process.poll() is None:
            self.ended = True
            self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(timeout=10)
        self.seconds = time.monotonic() - self._begun
