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


def unwrap_model(runner: Any) -> Any:
    """The runner's model without its distributed wrapper or what averages augmented predictions (``--tta``)."""
    from mmengine.model import BaseTTAModel, is_model_wrapper

    model = runner.model
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
