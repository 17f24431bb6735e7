"""Which number formats a training step can compute in, and on which devices."""

import logging

import torch
from mmengine.logging import print_log

from mmrel.utils.device import emulates

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse an unknown precision, and bfloat16 on a GPU that emulates it; warn of a CPU that does.

    Emulated, it is slower than float32.

    Raises:
        ValueError: with what to choose.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"precision must be one of {sorted(PRECISIONS)}, but is {precision!r}; set "
            "optim_wrapper.precision in the configuration."
        )
    if not emulates(precision, device):
        return
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        raise ValueError(
            f"precision is 'bf16', but {torch.cuda.get_device_name(device)} (compute capability {major}.{minor}) has "
            "no bfloat16 arithmetic; GPUs from 8.0 on have it. Set optim_wrapper.precision to 'fp16', which scales "
            "the loss, or to 'fp32'."
        )
    print_log(
        f"precision is {precision!r}, in which this CPU computes slowly: a step takes several times as long as with "
        "optim_wrapper.precision='fp32'.",
        logger="current",
        level=logging.WARNING,
    )
