"""Triton kernels without a GPU: a process of its own runs them in Triton's interpreter on CPU tensors.

Triton decides when it is imported whether it interprets, hence the process; it imports nothing but torch and
``mmrel.ops``.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]


def interpreted(calls: dict[str, tuple[str, tuple[Any, ...]]], folder: Path) -> dict[str, Any]:
    """Call functions of the project with kernels interpreted.

    Args:
        calls: by name, ``"module:function"`` and its arguments.
        folder: for the files between the processes.

    Returns:
        By name, what the function returned and its arguments afterwards.
    """
    torch.save(calls, folder / "calls.pth")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "results.pth", weights_only=False)


def main(folder: Path) -> None:
    """What the process does."""
    torch.set_num_threads(1)
    results = {}
    for name, (function, arguments) in torch.load(folder / "calls.pth", weights_only=False).items():
        module, attribute = function.split(":")
        result = getattr(importlib.import_module(module), attribute)(*arguments)
        results[name] = (result, arguments)
    torch.save(results, folder / "results.pth")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
