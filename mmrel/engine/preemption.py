"""Signals that ask a run to end: noted when they come, obeyed when the step is finished.

SIGTERM (schedulers, ``kill``), SIGUSR1 (SLURM's warning before the time limit) and SIGINT (Ctrl-C) set a flag. The
training process looks at it between two steps. A second Ctrl-C stops at once.
"""

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

EXIT_CODES = {signal.SIGTERM: 143, signal.SIGUSR1: 138, signal.SIGINT: 130}
"""128 + 15, 128 + 10 and 128 + 2, as shells report a process that such a signal has ended."""

ONE_PRESS = 1.0
"""Seconds within which further SIGINTs are echoes of the first: torchrun hands on what the terminal sent already."""


class SignalWatch:
    """Notes the signals of one run.

    Attributes:
        received: the first signal that came, or ``None``.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._since = 0.0
        self._process = os.getpid()
        self._before: dict[int, Any] = {}

    def install(self) -> bool:
        """Begin to watch; false if this is not the main thread, where Python allows no handlers."""
        if threading.current_thread() is not threading.main_thread():
            return False
        for number in EXIT_CODES:
            self._before[number] = signal.signal(number, self._note)
        return True

    def restore(self) -> None:
        """Give the signals back to whoever handled them before."""
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # inherited by a child, which shall die of it as usual
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        now = time.monotonic()
        if self.received is None:
            self.received, self._since = signal.Signals(number), now
            if number == signal.SIGINT:
                _tell("Finishing the step and saving; Ctrl-C again stops at once.")
        elif number == signal.SIGINT and now - self._since > ONE_PRESS:
            raise KeyboardInterrupt


_WATCHES: list[SignalWatch] = []


def watch_signals() -> SignalWatch | None:
    """A watch that is at work until :func:`release_signals`; ``None`` outside the main thread."""
    release_signals()
    watch = SignalWatch()
    if not watch.install():
        return None
    _WATCHES.append(watch)
    return watch


def release_signals() -> None:
    """End what :func:`watch_signals` began, also if the run ended with an error."""
    while _WATCHES:
        _WATCHES.pop().restore()


def keep_signals() -> None:
    """Go on watching to the end of the process, so that no further SIGTERM changes its exit code."""
    _WATCHES.clear()


def _tell(text: str) -> None:
    """Write a line from within a signal handler, where a logger's lock may be held already."""
    os.write(2, f"\n{text}\n".encode())
