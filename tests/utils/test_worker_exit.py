"""A process whose loader keeps its workers ends, though they are shielded from signals."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import torch
from torch.utils.data import DataLoader
from mmrel.utils.worker_signals import shield_workers

loader = DataLoader(list(range(8)), num_workers=1, persistent_workers=True)
shield_workers(loader)
print(len(list(loader)))
loader.itself = loader  # as in a runner and its hooks, which refer to each other
"""
WAIT_AS_TORCH_DOES = """
import atexit
for worker in loader._iterator._workers:
    atexit.register(worker.join, timeout=40)
"""
"""What torch before 2.14 registers, with 5 s, when a loader that pins its memory starts persistent workers."""


@pytest.mark.parametrize("more", ["", WAIT_AS_TORCH_DOES], ids=["plain", "torch waits"])
def test_exit__persistent_workers_end(more: str) -> None:
    """Without a request they would outlive the one SIGTERM of Python's exit, which then waits for ever."""
    done = subprocess.run(
        [sys.executable, "-c", CODE + more],
        capture_output=True,
        text=True,
        timeout=35,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stdout) == (0, "8\n"), done.stderr
