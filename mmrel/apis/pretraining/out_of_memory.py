"""What to say where a step does not fit the memory, in the words of ``tools/pretrain.py``."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mmrel.utils.errors import UsageError


@contextmanager
def memory_for(batch: int) -> Iterator[None]:
    """Steps of so many images, tried or trained.

    Args:
        batch: images per step.

    Raises:
        UsageError: in the place of torch's error, with what to change.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        smaller = f"--batch {batch // 2}" if batch > 2 else "--network vit-tiny"
        raise UsageError(
            f"The memory does not hold a step of {batch} images. Start again with {smaller} and another --work-dir, or "
            f"end what else uses it. ({str(error).partition('. ')[0]})"
        ) from error
