"""Several gloo processes on one machine."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed


def join_processes(rank: int, size: int, folder: str) -> None:
    """Enter the process group; ``folder`` is common to all ranks and holds the meeting point."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{Path(folder) / 'meeting'}", rank=rank, world_size=size
    )


def run_processes(target: Callable[..., None], size: int, *args: Any, timeout: float = 90) -> None:
    """Run ``target(rank, *args)`` in ``size`` fresh processes and require that all end well."""
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=target, args=(rank, *args)) for rank in range(size)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout)
    codes = [process.exitcode for process in ranks]
    for process in ranks:
        if process.exitcode is None:
            process.kill()
    assert codes == [0] * size, f"exit codes {codes}"
