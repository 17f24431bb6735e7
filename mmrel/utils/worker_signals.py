"""Loader workers that outlive a signal to the whole process group.

A scheduler, or Ctrl-C, signals every process of a job. A worker that dies of it takes the training process with it
before that has finished its step and saved. So workers leave the decision to it.
"""

import os
import signal
import threading
import weakref
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

LEFT_TO_THE_PARENT = (signal.SIGINT, signal.SIGUSR1)


def shield_workers(loader: Any) -> None:
    """Let the loader's future workers ignore SIGINT, SIGUSR1 and the first SIGTERM.

    Args:
        loader: a ``torch.utils.data.DataLoader`` whose workers have not been started.
    """
    inner = loader.worker_init_fn
    if loader.num_workers and getattr(inner, "func", None) is not _start_shielded:
        loader.worker_init_fn = partial(_start_shielded, inner)
        # Ahead of atexit, where torch before 2.14 waits 5 s for each persistent worker of a loader that pins memory.
        threading._register_atexit(_end_workers, weakref.ref(loader))  # type: ignore[attr-defined]


def _end_workers(reference: "weakref.ref[Any]") -> None:
    """Ask persistent workers to end, which nobody else does in time.

    At its exit Python sends one SIGTERM to each child, which a shielded worker survives, and waits for it for ever.
    """
    iterator = getattr(reference(), "_iterator", None)
    if iterator is not None:
        iterator._shutdown_workers()


def _start_shielded(inner: Callable[[int], None] | None, worker_id: int) -> None:
    for number in LEFT_TO_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _after_this_die)
    if inner is not None:
        inner(worker_id)


def _after_this_die(number: int, frame: FrameType | None) -> None:
    """The first SIGTERM may come from outside; the parent ends a stuck worker with one more."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if os.getppid() == 1:  # the parent is gone
        os.kill(os.getpid(), signal.SIGTERM)
