"""Which device a tool computes on."""

import torch
from mmengine.device import get_device

from mmrel.utils.errors import UsageError


def usable_device(name: str | None) -> str:
    """The device to compute on; ``None``: a GPU if there is one.

    Raises:
        UsageError: it is not there.
    """
    if name is None:
        return get_device()
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"--device {name} cannot be used: {reason}. Give cpu or cuda:0") from error
    return name
