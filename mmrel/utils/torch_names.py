"""What a checkpoint's pickle may name to build tensors: storages, number types, and the functions that join them.

A tensor must lie inside its storage; it is dense, on the CPU, and has no Python attributes.
"""

import math
from collections.abc import Mapping
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from mmrel.utils.plain_names import TABLE
from mmrel.utils.plain_tree import Named, Started

MAX_EXPANDED = 2**20
"""Values of a tensor that repeats its storage (``expand``)."""
MAX_DIMS = 32


class Storage(Started):
    """The values of tensors, flat; of their number type, or bytes for an untyped one."""

    def __init__(self, values: Tensor) -> None:
        self.values = values


def _tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    grad: Any = False,
    _: Any = None,
    metadata: Any = None,
) -> Tensor:
    """A tensor of a storage, inside of which it must lie."""
    if not isinstance(storage, Storage) or metadata:
        raise UnpicklingError("a tensor has no storage of numbers")
    shape = isinstance(size, tuple | torch.Size) and isinstance(stride, tuple)
    if not shape or len(size) != len(stride) or len(size) > MAX_DIMS:
        raise UnpicklingError("the shape of a tensor is damaged")
    if not all(type(n) is int and n >= 0 for n in (offset, *size, *stride)):
        raise UnpicklingError("the shape of a tensor is damaged")
    count, held = math.prod(size), storage.values.numel()
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and last >= held:
        raise UnpicklingError(f"a tensor of shape {tuple(size)} is larger than its storage")
    if count > max(held, MAX_EXPANDED):
        raise UnpicklingError(
            f"a tensor of shape {tuple(size)} has {count} values, more than the file of them holds: {held}"
        )
    tensor = storage.values.as_strided(size, stride, offset if count else 0)
    return tensor.requires_grad_() if grad is True and tensor.is_floating_point() else tensor


def _typed_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Tensor:
    """A tensor of an untyped storage, as number types without a storage class are saved."""
    if not isinstance(storage, Storage) or not isinstance(dtype, Named):
        raise UnpicklingError("a tensor has no storage of numbers")
    if not isinstance(dtype.value, torch.dtype) or storage.values.numel() % dtype.value.itemsize:
        raise UnpicklingError("the type of a tensor is damaged")
    return _tensor(Storage(storage.values.view(dtype.value)), offset, size, stride, grad)


def _parameter(data: Any, grad: Any = True, *_: Any) -> nn.Parameter:
    if not isinstance(data, Tensor):
        raise UnpicklingError("a parameter is no tensor")
    return nn.Parameter(data.detach(), grad is True and data.is_floating_point())


def _with_attributes(rebuild: Any, _: Any, arguments: Any, *__: Any) -> Tensor:
    """A tensor with Python attributes, which are left out."""
    if rebuild not in (TENSORS["torch._utils._rebuild_tensor_v2"], TENSORS[PARAMETER]):
        raise UnpicklingError("a tensor is rebuilt by something else")
    result: Tensor = rebuild.call(*arguments)
    return result


def _size(dims: Any = ()) -> torch.Size:
    if not isinstance(dims, tuple | list) or not all(type(n) is int for n in dims):
        raise UnpicklingError("a size holds something else than integers")
    return torch.Size(dims)


def _device(*name: Any) -> torch.device:
    if not all(isinstance(part, str | int) for part in name):
        raise UnpicklingError("the name of a device is no text")
    return torch.device(*name)


def _layout(name: Any) -> None:
    """The layout of a tensor that is not dense, which has indices that nobody checks."""
    raise UnpicklingError(f"it has a tensor of layout {str(name)[:40]}, not a dense one")


PARAMETER = "torch._utils._rebuild_parameter"
TENSORS: dict[str, Named] = {
    "torch.Size": Named(_size),
    "torch.device": Named(_device),
    "torch.Tensor": Named(),
    "torch.nn.parameter.Parameter": Named(_parameter),
    "torch.serialization._get_layout": Named(_layout),
    "torch._utils._rebuild_sparse_tensor": Named(_layout),
    "torch._tensor._rebuild_from_type_v2": Named(_with_attributes),
    "torch._utils._rebuild_parameter": Named(_parameter),
    "torch._utils._rebuild_parameter_with_state": Named(_parameter),
    "torch._utils._rebuild_tensor": Named(_tensor),
    "torch._utils._rebuild_tensor_v2": Named(_tensor),
    "torch._utils._rebuild_tensor_v3": Named(_typed_tensor),
}
DTYPES = [
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
    "float8_e4m3fn",
    "float8_e5m2",
]
TENSORS |= {f"torch.{n}": Named(value=getattr(torch, n)) for n in DTYPES if hasattr(torch, n)}
STORAGES = {
    "Bool": torch.bool,
    "Byte": torch.uint8,
    "Char": torch.int8,
    "Short": torch.int16,
    "Int": torch.int32,
    "Long": torch.int64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Float": torch.float32,
    "Double": torch.float64,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}
TENSORS |= {
    f"torch.{device}{name}Storage": Named(value=dtype)
    for device in ("", "cuda.")
    for name, dtype in STORAGES.items()
}
TENSORS["torch.storage.UntypedStorage"] = Named(value=torch.uint8)
NAMES: Mapping[str, Named] = TABLE | TENSORS
