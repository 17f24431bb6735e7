"""Which number formats a training step can compute in, and on which devices."""

import logging

import torch
from mmengine.logging import print_log

from mmrel.utils.device import cpu_emulates

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
FIRST_WITH_BFLOAT16 = (8, 0)


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse an unknown precision, and bfloat16 on a GPU that has no units for it; warn of a CPU that has none.

    torch emulates it there, more slowly than float32.

    Raises:
        ValueError: with what to choose.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"precision must be one of {sorted(PRECISIONS)}, but is {precision!r}; set "
            "optim_wrapper.precision in the configuration."
        )
    if device.type == "cpu" and cpu_emulates(precision):
        print_log(
            f"precision is {precision!r}, in which this CPU computes slowly: a step takes several times as long as "
            "with optim_wrapper.precision='fp32'.",
            logger="current",
            level=logging.WARNING,
        )
    if precision != "bf16" or device.type != "cuda" or torch.version.hip:
        return
    capability = torch.cuda.get_device_capability(device)
    if capability < FIRST_WITH_BFLOAT16:
        raise ValueError(
            f"precision is 'bf16', but {torch.cuda.get_device_name(device)} (compute capability "
            f"{capability[0]}.{capability[1]}) has no bfloat16 arithmetic; GPUs from 8.0 on have it. Set "
            "optim_wrapper.precision to 'fp16', which scales the loss, or to 'fp32'."
        )
