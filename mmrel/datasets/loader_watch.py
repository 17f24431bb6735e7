"""A loader that fails says on which files its workers were.

A worker that hangs in a read, or that the system kills for want of memory, leaves torch with a bare "timed out" or
"exited unexpectedly". Here each worker notes in shared memory which sample it works on.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data._utils import signal_handling

HUNG, GONE = "DataLoader timed out", "DataLoader worker"


class LoaderError(RuntimeError):
    """A loader worker hung or was killed."""


class SampleBoard:
    """What each loader worker works on, in memory that the processes share.

    Args:
        num_workers: of the loader.
    """

    def __init__(self, num_workers: int) -> None:
        self._rows = torch.zeros(num_workers, 3, dtype=torch.int64).share_memory_()

    @contextlib.contextmanager
    def working_on(self, index: int) -> Iterator[None]:
        """Note the sample while the context lasts; outside a worker it does nothing."""
        worker = get_worker_info()
        if worker is None or worker.id >= len(self._rows):
            yield
            return
        row = self._rows.numpy()[worker.id]
        row[:] = os.getpid(), index + 1, time.monotonic_ns()
        try:
            yield
        finally:
            row[1] = 0

    def in_work(self) -> list[tuple[int, int, float]]:
        """``(process, index, seconds)`` of each worker that is at a sample, the longest first."""
        now = time.monotonic_ns()
        rows = [
            (pid, index - 1, (now - start) / 1e9)
            for pid, index, start in self._rows.tolist()
            if index
        ]
        return sorted(rows, key=lambda row: -row[2])


@contextlib.contextmanager
def watched_batches(loader: DataLoader) -> Iterator[Iterator[Any]]:
    """The loader's batches, for a ``with`` around all that is done with them.

    torch reports a killed worker from a signal handler, that is anywhere in the work on a batch.

    Raises:
        LoaderError: a worker hung longer than the loader's ``timeout``, or was killed.
    """
    board = SampleBoard(loader.num_workers)
    datasets = list(_watched(loader.dataset))
    if loader.persistent_workers and getattr(loader, "_iterator", None) is not None:
        board = next((data.sample_board for data in datasets if data.sample_board), board)
    for dataset in datasets:
        dataset.sample_board = board
    iterator = iter(loader)
    try:
        yield iterator
    except BaseException as error:
        if not isinstance(error, RuntimeError) or not str(error).startswith((HUNG, GONE)):
            if not loader.persistent_workers:
                _stop_workers(iterator)
            raise
        told = _explanation(str(error).partition("\n")[0].rstrip(". "), board, datasets)
        _kill_workers(iterator)
        raise LoaderError(told) from error


def _stop_workers(iterator: Any) -> None:
    """Let the workers end now, not when the error's traceback, which holds the iterator, is collected as garbage.

    Python then finalises the queues first, so that the message that ends a worker is never sent: torch would wait 10
    seconds for each of them.
    """
    if hasattr(iterator, "_shutdown_workers"):
        iterator._shutdown_workers()


def _kill_workers(iterator: Any) -> None:
    """One that hangs in a read would keep this process from ending; torch must not report their end in turn."""
    if getattr(iterator, "_worker_pids_set", False):
        signal_handling._remove_worker_pids(id(iterator))
        iterator._worker_pids_set = False
    for worker in getattr(iterator, "_workers", ()):
        worker.kill()


def _watched(dataset: Any) -> Iterator[Any]:
    """The data sets inside ``dataset``, wrappers included, that use a board."""
    if hasattr(dataset, "sample_board"):
        yield dataset
    for inner in (getattr(dataset, "dataset", None), *getattr(dataset, "datasets", ())):
        if inner is not None:
            yield from _watched(inner)


def _explanation(told: str, board: SampleBoard, datasets: list[Any]) -> str:
    place = "; ".join(
        f"{_path(datasets, index)} (sample {index}, process {pid}, for {seconds:.0f} s)"
        for pid, index, seconds in board.in_work()[:4]
    )
    if told.startswith(HUNG):
        remedy = (
            "Look at these files and at the storage they are on; if reading is merely slow, raise the loader's "
            "timeout (train_dataloader.timeout, in seconds)."
        )
    else:
        remedy = (
            "The system kills a process mostly for want of memory: use fewer workers (train_dataloader.num_workers), "
            "and look at these files, which may be very large."
        )
    return f"{told}. The workers were at: {place or 'no sample that is known'}. {remedy} Then continue with --resume."


def _path(datasets: list[Any], index: int) -> str:
    if len(datasets) != 1:
        return "a file of one of several data sets"
    return str(datasets[0].get_data_info(index).get("img_path", "a sample without a path"))
