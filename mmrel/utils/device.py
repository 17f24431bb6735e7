"""Where a model is: on which kind of device, and behind which wrapper.

torch and MMEngine are imported by the functions that need them, so that a tool can ask late.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

FIRST_WITH_BFLOAT16 = (8, 0)
"""Compute capability of the first GPUs with bfloat16 (Ampere)."""


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_cpu() -> bool:
    """Whether MMEngine will put the model on the CPU."""
    from mmengine.device import get_device

    return get_device() == "cpu"


def chosen_device() -> "torch.device":
    """Where MMEngine will put the model of this process."""
    import torch
    from mmengine.device import get_device

    kind = get_device()
    if kind != "cuda":
        return torch.device(kind)
    return torch.device(kind, int(os.environ.get("LOCAL_RANK", "0")))


def emulates(precision: str, device: "torch.device") -> bool:
    """Whether a device has no fast products of matrices in ``"bf16"`` or ``"fp16"``.

    GPUs of NVIDIA have bfloat16 from compute capability 8.0 on. On a CPU torch has products from oneDNN, in bfloat16
    with AVX-512 and on some ARM processors, in float16 on fewer. Elsewhere it computes by loops of its own; a training
    step then takes some ten times as long as in float32.
    """
    import torch

    if precision not in ("fp16", "bf16"):
        return False
    if device.type == "cpu":
        supported = getattr(torch.ops.mkldnn, f"_is_mkldnn_{precision}_supported", None)
        return not (torch.backends.mkldnn.is_available() and supported is not None and supported())
    if device.type == "cuda" and precision == "bf16" and not torch.version.hip:
        return torch.cuda.get_device_capability(device) < FIRST_WITH_BFLOAT16
    return False


def unwrap_model(runner: Any) -> Any:
    """The runner's model without its distributed wrapper or what averages augmented predictions (``--tta``)."""
    from mmengine.model import BaseTTAModel, is_model_wrapper

    model = runner.model
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
