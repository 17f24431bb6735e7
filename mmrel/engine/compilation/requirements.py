"""What torch.compile needs from a machine. Each answer is a reason that can stand in a message."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import torch
from mmengine.utils import digit_version

from mmrel.ops.kernels import OLDEST_CAPABILITY

LEAST_TORCH = "2.6"
"""Since then blocks share code although they hold other parameters and other drop rates."""

COMPILERS = {
    "CC": ("C", ("gcc", "clang")),
    "CXX": ("C++", ("clang++",) if sys.platform == "darwin" else ("g++",)),
}
"""What Triton and inductor look for unless the variable names one."""


def obstacle(device: str, backend: str) -> str | None:
    """Why torch cannot compile here, with the remedy; ``None``: nothing is known to be in the way.

    Args:
        device: type of the device that the model is on.
        backend: of ``torch.compile``. Only inductor needs compilers.
    """
    version = torch.__version__.split("+")[0]
    if digit_version(version) < digit_version(LEAST_TORCH):
        return f"torch is {version}; install {LEAST_TORCH} or newer"
    try:
        torch._dynamo.eval_frame.check_if_dynamo_supported()
    except RuntimeError as error:
        return f"torch {version} says: {error}; use another Python or a newer torch"
    if backend != "inductor":
        return None
    return _no_triton() or _no_compiler("CC") if device == "cuda" else _no_compiler("CXX")


def _no_triton() -> str | None:
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return (
            f"Triton, which makes the GPU's kernels, cannot be imported ({error}); `pip install triton` in the version "
            "that this torch names among its requirements"
        )
    capability = torch.cuda.get_device_capability()
    if torch.version.hip is None and capability < OLDEST_CAPABILITY:
        return (
            f"{torch.cuda.get_device_name()} has compute capability {capability[0]}.{capability[1]} and Triton needs "
            f"{OLDEST_CAPABILITY[0]}.{OLDEST_CAPABILITY[1]}; use a newer GPU"
        )
    return None


def _no_compiler(variable: str) -> str | None:
    """Of C for Triton's launchers (``CC``), of C++ for the CPU's kernels (``CXX``); both include ``Python.h``."""
    if sys.platform == "win32":
        return None  # torch looks for Visual Studio and tells what it misses
    language, candidates = COMPILERS[variable]
    asked = os.environ.get(variable)
    candidates = (asked,) if asked else candidates
    if not any(shutil.which(name.split()[0]) for name in candidates):
        where = f"{variable}={asked}" if asked else " or ".join(candidates)
        return (
            f"there is no {language} compiler ({where}); install one, for instance with `apt-get install g++`, or "
            f"name it in {variable}"
        )
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file():
        return f"Python's header {header} is missing; install it, for instance with `apt-get install python3-dev`"
    return None
