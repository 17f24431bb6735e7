"""A model's parts handed to ``torch.compile``, in place.

What is compiled is a method of one module, bound to that module again: parameters keep their names, hooks of the
module run as before, and a deep copy holds methods of its own. Modules of one class share code. In evaluation mode
the plain method runs, so that images of other sizes and numbers there compile nothing.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from logging import Logger
from types import MethodType
from typing import Any

import torch
from mmpretrain.models.backbones.swin_transformer import SwinBlock
from mmpretrain.models.backbones.t2t_vit import T2TTransformerLayer
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn

from mmrel.engine.compilation.options import CompileOptions, read_options, refuse_own_options
from mmrel.engine.compilation.requirements import obstacle
from mmrel.models.selfsup import SelfSupervised
from mmrel.structures import ViewBatch
from mmrel.utils.errors import UsageError

BLOCKS = (TransformerEncoderLayer, SwinBlock, T2TTransformerLayer)
VARIANTS = 64
"""Compiled forms per function. A block has one per crop size, with and without gradients and stochastic depth."""
FIXED_SIZES = 4
"""So many sizes of a block's input get kernels of their own; where there are more, torch makes general ones."""

OFF = "Set compile=False (--cfg-options compile=False) to train without."


@dataclass(frozen=True)
class Unit:
    """One thing to compile: a method of a module, and the name of the module in the model."""

    name: str
    module: nn.Module
    method: str


def options_for(model: nn.Module, value: Any, micro_batches: int = 1) -> CompileOptions | None:
    """What ``compile`` of a configuration means for this model; ``None``: what it means in MMEngine.

    A model to compile has ``compiled_methods``, and perhaps a scope and a mode of its own as ``compile_scope`` and
    ``compile_mode``. The mode is left out where gradients are accumulated, which CUDA graphs do not allow.

    Args:
        model: without a distributed wrapper.
        value: of the configuration.
        micro_batches: over which gradients are accumulated.

    Raises:
        UsageError: see :func:`~mmrel.engine.compilation.options.read_options` and
            :meth:`~mmrel.engine.compilation.options.CompileOptions.check_accumulation`.
    """
    if not hasattr(type(model), "compiled_methods"):
        refuse_own_options(value, type(model).__name__)
        return None
    scope = getattr(type(model), "compile_scope", "parts")
    mode = getattr(type(model), "compile_mode", None) if micro_batches == 1 else None
    options = read_options(value, scope=scope, mode=mode)
    options.check_accumulation(micro_batches)
    return options


def units_of(model: nn.Module, scope: str = "parts") -> Iterator[Unit]:
    """What a scope compiles.

    Raises:
        UsageError: the whole is asked for of a model whose loss reads more than tensors.
    """
    if scope == "whole":
        if not isinstance(model, SelfSupervised):
            raise UsageError(
                f"compile.scope='whole' compiles the loss of mmrel's pretraining algorithms, but the model is a "
                f"{type(model).__name__}, whose loss reads labels out of objects; choose scope='parts'."
            )
        yield Unit("", model, "loss")
        return
    for name, module in model.named_modules():
        methods = getattr(type(module), "compiled_methods", ())
        for method in (*methods, *(["forward"] if isinstance(module, BLOCKS) else [])):
            yield Unit(name, module, method)


def compile_model(model: nn.Module, options: CompileOptions, logger: Logger) -> bool:
    """Compile a model's parts in place, if the options and the machine say so.

    Args:
        model: without a distributed wrapper; see :func:`options_for`.
        options: what the configuration says.
        logger: is told what happens and why.

    Returns:
        Whether anything is compiled.

    Raises:
        UsageError: ``enabled`` is ``True`` and torch cannot compile here.
    """
    if options.enabled is False:
        return False
    device = device_of(model)
    if options.enabled == "auto" and device != "cuda":
        logger.info(
            f"Not compiled: on a {device.upper()} a short run does not win back the minutes that compiling takes. "
            "--cfg-options compile=True compiles here too."
        )
        return False
    if reason := obstacle(device, options.backend):
        if options.enabled is True:
            raise UsageError(f"compile is on, but torch cannot compile here: {reason}. {OFF}")
        logger.warning(
            f"Not compiled, so the steps take longer: {reason}. compile=False hides this."
        )
        return False
    units = list(units_of(model, options.scope))
    _set_up_dynamo()
    functions: dict[Callable, Callable] = {}
    for unit in units:
        plain = getattr(type(unit.module), unit.method)
        if plain not in functions:
            functions[plain] = _compiled(plain, options, logger)
        setattr(unit.module, unit.method, MethodType(functions[plain], unit.module))
    logger.info(
        f"Compiled by {options.backend}: {_told(units)}. The first steps take longer. compile=False leaves it out."
    )
    return True


def device_of(model: nn.Module) -> str:
    """Type of the device that a model is on."""
    return next(model.parameters()).device.type


@contextmanager
def explain_compile_error() -> Iterator[None]:
    """Raise ``UsageError`` if a step fails for being compiled, when it is too late to go on without."""
    try:
        yield
    except Exception as error:
        if not _is_compile_error(error):
            raise
        raise UsageError(
            f"A compiled step failed after part of it was computed ({_brief(error)}), so this run cannot go on without "
            f"compiling. {OFF}"
        ) from error


def _compiled(plain: Callable, options: CompileOptions, logger: Logger) -> Callable:
    """The compiled form of a method for all modules that have it; plain in evaluation, and where compiling fails."""
    compiled = torch.compile(plain, **options.arguments)
    sizes: set[torch.Size] = set()
    failed = False

    @wraps(plain)
    def run(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        nonlocal failed
        if failed or not module.training:
            return plain(module, *args, **kwargs)
        if options.dynamic is None:
            _mark_sizes(args, sizes)
        if options.uses_cuda_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        try:
            result = compiled(module, *args, **kwargs)
        except Exception as error:
            if not (_is_compile_error(error) and options.fullgraph):
                raise
            # One graph is compiled before any of it is computed, so nothing has happened yet. If
            # the module itself refuses what it got, this raises the module's own error.
            result = plain(module, *args, **kwargs)
            message = f"{plain.__qualname__} cannot be compiled: {_brief(error)}."
            if options.enabled is True:
                raise UsageError(f"{message} {OFF}") from error
            logger.warning(f"{message} It runs uncompiled; nothing was lost.")
            failed = True
            return result
        return _own(result) if options.uses_cuda_graphs else result

    return run


def _set_up_dynamo() -> None:
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, VARIANTS)
    # DDP's own splitting of graphs refuses the autograd functions of the relation losses and
    # recomputation. Parts do not need it: the gradients of each are reduced while the next runs backward.
    config.optimize_ddp = False


def _mark_sizes(args: tuple[Any, ...], seen: set[torch.Size]) -> None:
    """Say which sizes change, so that torch does not find out by compiling twice.

    The number of hidden patches differs from batch to batch. A block sees few sizes, one per kind of crop, and each
    gets kernels of its own; torch would make the second one general.

    Args:
        args: of the method.
        seen: sizes of tensors that were fixed; grows.
    """
    for given in args:
        if isinstance(given, Tensor):
            if len(seen) < FIXED_SIZES:
                seen.add(given.shape)
            if given.shape in seen:
                torch._dynamo.mark_static(given)
        elif isinstance(given, ViewBatch):
            for tensor in (given.mask_indices, given.mask_weights):
                if tensor is not None:
                    torch._dynamo.maybe_mark_dynamic(tensor, 0)


def _own(result: Any) -> Any:
    """Losses in memory of their own: what a CUDA graph returns is overwritten by the next step."""
    if isinstance(result, dict):
        return {name: _own(value) for name, value in result.items()}
    return result.clone() if isinstance(result, Tensor) and result.ndim == 0 else result


def _is_compile_error(error: BaseException) -> bool:
    if "torch._dynamo.exc" not in sys.modules:
        return False
    names = ("TorchDynamoException", "FailOnRecompileLimitHit")
    known = tuple(getattr(torch._dynamo.exc, name, ()) for name in names)
    return isinstance(error, known)


def _brief(error: BaseException) -> str:
    """Name and first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])[:300]}".rstrip(".: ")


def _told(units: list[Unit]) -> str:
    blocks = sum(isinstance(unit.module, BLOCKS) for unit in units)
    others = [
        f"{unit.name or type(unit.module).__name__}.{unit.method}"
        for unit in units
        if not isinstance(unit.module, BLOCKS)
    ]
    return ", ".join([*([f"{blocks} transformer blocks"] if blocks else []), *others])
