"""Where a model is: on which kind of device, and behind which wrapper.

torch and MMEngine are imported by the functions that need them, so that a tool can ask late.
"""

import os
from typing import Any


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_cpu() -> bool:
    """Whether MMEngine will put the model on the CPU."""
    from mmengine.device import get_device

    return get_device() == "cpu"


def cpu_emulates(precision: str) -> bool:
    """Whether this processor has no fast products of matrices in ``"bf16"`` or ``"fp16"``.

    torch has them from oneDNN, for bfloat16 with AVX-512 and on some ARM processors, for float16 on fewer. Elsewhere
    it computes by loops of its own; a training step then takes some ten times as long as in float32.
    """
    import torch

    if precision not in ("fp16", "bf16"):
        return False
    supported = getattr(torch.ops.mkldnn, f"_is_mkldnn_{precision}_supported", None)
    return not (torch.backends.mkldnn.is_available() and supported is not None and supported())


def unwrap_model(runner: Any) -> Any:
    """The runner's model without its distributed wrapper or what averages augmented predictions (``--tta``)."""
    from mmengine.model import BaseTTAModel, is_model_wrapper

    model = runner.model
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
