"""Where a run begins that has weights but no run to resume: ``load_from``."""

from typing import Any

from mmengine.runner import Runner
from mmengine.runner.loops import BaseLoop

from mmrel.checkpoints.continuation import continue_from
from mmrel.utils.device import unwrap_model


def begin_from(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Put what the model begins with in the place of a checkpoint's tensors, and log what that is.

    Args:
        runner: about to load the checkpoint.
        checkpoint: what was read; its ``state_dict`` becomes the whole state of the model.

    Raises:
        ValueError: the checkpoint does not fit; or the run only evaluates, and some part would be random.
    """
    source = str(runner._load_from)
    found = continue_from(unwrap_model(runner), checkpoint, source)
    trains = isinstance(runner._train_loop, BaseLoop)
    if found.fresh and not trains:
        raise ValueError(
            f"{source!r} cannot be evaluated: it does not hold {', '.join(found.fresh)} of the model, which would be "
            "random. Give a checkpoint of a training run with this configuration."
        )
    log = runner.logger.warning if found.fresh else runner.logger.info
    log(found.report)
    checkpoint["state_dict"] = found.state
