"""A process whose loader keeps its workers ends, though they are shielded from signals."""

import subprocess
import sys
from pathlib import Path

CODE = """
import torch
from torch.utils.data import DataLoader
from mmrel.utils.worker_signals import shield_workers

loader = DataLoader(list(range(8)), num_workers=1, persistent_workers=True)
shield_workers(loader)
print(len(list(loader)))
loader.itself = loader  # as in a runner and its hooks, which refer to each other
"""


def test_exit__persistent_workers_end() -> None:
    """Without a request they would outlive the one SIGTERM of Python's exit, which then waits for ever."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stdout) == (0, "8\n"), done.stderr
