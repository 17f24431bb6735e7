"""What helps when a training step does not fit into memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

CPU_MESSAGE = "can't allocate memory"


@contextmanager
def explain_out_of_memory(where: str, config: Any) -> Iterator[None]:
    """Name the settings that help, where torch only says that memory ran out.

    Args:
        where: the step, for the message.
        config: the run's configuration.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.cuda.OutOfMemoryError) and CPU_MESSAGE not in str(error):
            raise
        told = str(error).partition("\n")[0]
        kind = type(error)
        raise kind(f"Out of memory in {where}: {told} {_advice(config)}") from error


def _advice(config: Any) -> str:
    loader = config.get("train_dataloader") or {}
    wrapper = config.get("optim_wrapper") or {}
    batch, parts = loader.get("batch_size"), wrapper.get("accumulative_counts", 1)
    smaller = "Lower train_dataloader.batch_size"
    if isinstance(batch, int) and batch > 1:
        smaller = (
            f"Halve the batch and accumulate: --cfg-options train_dataloader.batch_size={batch // 2} "
            f"optim_wrapper.accumulative_counts={2 * parts} (a new run: the position in the data is counted in steps)"
        )
    return (
        f"{smaller}; use optim_wrapper.precision=bf16, fewer local crops (num_local of mmrel.MultiCrop), or keep fewer "
        "activations (activation_checkpointing=['backbone']). The last checkpoint is as it was."
    )
