"""Where a model is: on which kind of device, and behind which wrapper.

torch and MMEngine are imported by the functions that need them, so that a tool can ask late.
"""

from typing import Any


def on_cpu() -> bool:
    """Whether MMEngine will put the model on the CPU."""
    from mmengine.device import get_device

    return get_device() == "cpu"


def unwrap_model(runner: Any) -> Any:
    """The runner's model without its distributed wrapper."""
    from mmengine.model import is_model_wrapper

    return runner.model.module if is_model_wrapper(runner.model) else runner.model
