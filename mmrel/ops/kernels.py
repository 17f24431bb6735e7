"""Which devices run this project's Triton kernels, and what their launches share."""

import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

OLDEST_TORCH = (2, 5)
OLDEST_CAPABILITY = (7, 0)


def missing_for_kernels(device: torch.device) -> str:
    """What keeps this device from running Triton kernels, as a clause; empty if nothing does."""
    if device.type != "cuda":
        return f"the tensors are on {device.type!r}"
    return _missing_on_cuda(device.index or 0)


@cache
def _missing_on_cuda(index: int) -> str:
    missing = _unsupported(index) or _failing(torch.device("cuda", index))
    if missing:
        warnings.warn(
            f"mmrel's Triton kernels are not used on cuda:{index}: {missing}. Single torch operations, several times "
            "slower, do their work.",
            stacklevel=2,
        )
    return missing


def _unsupported(index: int) -> str:
    if find_spec("triton") is None:
        return "the package triton is not installed (torch's wheels for Linux bring it)"
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < OLDEST_TORCH:
        return f"torch is {torch.__version__}, older than {'.'.join(map(str, OLDEST_TORCH))}"
    capability = torch.cuda.get_device_capability(index)
    if capability < OLDEST_CAPABILITY:
        return f"the GPU's compute capability is {capability}, below {OLDEST_CAPABILITY}"
    return ""


def _failing(device: torch.device) -> str:
    """Why a first kernel does not run. Triton needs a C compiler and Python's headers, and a driver that it knows."""
    try:
        torch.ops.mmrel.add_one(torch.zeros(1, device=device))
    except (
        Exception
    ) as error:  # whatever Triton, the compiler or the driver raises; it stands in the warning
        return f"a first kernel failed, {type(error).__name__}: {str(error).strip()[:300]}"
    return ""


def _add_one(numbers: Tensor) -> None:
    from mmrel.ops import probe_kernel

    with current_device(numbers):
        probe_kernel.add_one[(1,)](numbers)


def _nothing(*_: Any) -> None:
    """What an operator gives that works in place."""


def current_device(tensor: Tensor) -> AbstractContextManager[Any]:
    """Make a tensor's device the current one: Triton launches there, wherever its arguments are."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def define_operator(schema: str, run: Any, shape: Any = _nothing) -> None:
    """Make ``torch.ops.mmrel.<name>``.

    An operator rather than a plain function: whoever traces or counts a program sees its shapes without running it.

    Args:
        schema: such as ``"scale_each(Tensor(a!)[] tensors, Tensor factors) -> ()"``.
        run: what it does, on any device.
        shape: the same for tensors without data; by default of one that works in place.
    """
    name = schema.split("(")[0]
    _library.define(schema)
    _library.impl(name, run, "CompositeExplicitAutograd")
    _library.impl(name, shape, "Meta")


_library = torch.library.Library("mmrel", "FRAGMENT")
define_operator("add_one(Tensor(a!) numbers) -> ()", _add_one)
