"""What to say when a training step does not fit into memory: what takes most of it, and what helps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mmrel.engine.loops.memory_groups import memory_groups, recompute_of
from mmrel.utils.algorithm import algorithm_path
from mmrel.utils.device import unwrap_model
from mmrel.utils.errors import UsageError
from mmrel.utils.text import listed

CPU_MESSAGE = "can't allocate memory"
GIB = 2**30


class StepOutOfMemoryError(UsageError, torch.cuda.OutOfMemoryError):
    """A training step does not fit into the memory of this process's device."""

    of_one_process = True


@contextmanager
def explain_out_of_memory(where: str, runner: Any, batch: Any = None) -> Iterator[None]:
    """Name what takes most memory and the settings that help, where torch only says that memory ran out.

    Args:
        where: the step, for the message.
        runner: in training.
        batch: what the loader gave.

    Raises:
        StepOutOfMemoryError: in the place of the error of a GPU's or the CPU's memory.
    """
    try:
        yield
    except StepOutOfMemoryError:
        raise
    except (RuntimeError, MemoryError) as error:
        of_gpu = isinstance(error, torch.cuda.OutOfMemoryError)
        if not (of_gpu or isinstance(error, MemoryError) or CPU_MESSAGE in str(error)):
            raise
        told = str(error).partition("\n")[0] or "no more memory."
        raise StepOutOfMemoryError(
            f"Out of memory in {where}: {told} {_largest(runner, batch)}{_advice(runner)} The last checkpoint is as it "
            "was."
        ) from error


def _largest(runner: Any, batch: Any) -> str:
    groups = memory_groups(runner, batch)[:6]
    if not groups:
        return ""
    texts = [
        f"{group.name} {_size(group.bytes)}{' (estimate)' if group.estimated else ''}"
        for group in groups
    ]
    return f"The largest parts of a step on this process: {listed(texts, len(texts))}. "


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / 2**20:.1f} MiB"


def _advice(runner: Any) -> str:
    loader = runner.cfg.get("train_dataloader") or {}
    wrapper = runner.cfg.get("optim_wrapper") or {}
    batch, parts = loader.get("batch_size"), wrapper.get("accumulative_counts", 1)
    smaller = "Lower train_dataloader.batch_size"
    if isinstance(batch, int) and batch > 1:
        smaller = (
            f"Halve the batch and accumulate: --cfg-options train_dataloader.batch_size={batch // 2} "
            f"optim_wrapper.accumulative_counts={2 * parts} (a new run: the position in the data is counted in steps)"
        )
    fewer = _keep_fewer(runner)
    precision = getattr(runner.optim_wrapper, "precision", None)
    half = "; in half the bytes: optim_wrapper.precision=bf16" if precision == "fp32" else ""
    return f"{smaller}{'; or ' if fewer else ''}{fewer}{half}."


def _keep_fewer(runner: Any) -> str:
    """The setting that keeps fewer activations, or an empty text if it is at its strongest."""
    now = recompute_of(unwrap_model(runner))
    if now is None:
        if runner.cfg.get("activation_checkpointing"):
            return ""
        return "keep fewer activations: --cfg-options activation_checkpointing=\"['backbone']\""
    if now == "block":
        return ""
    model = runner.cfg.get("model") or {}
    path = f"{algorithm_path(model)}.backbone"
    return f"keep fewer activations: --cfg-options {path}.recompute=block (it is {now!r})"
