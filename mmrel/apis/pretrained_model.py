"""A whole pretraining model, with heads and teacher, as its config and a checkpoint describe it."""

from typing import Any

from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS
from torch import nn

from mmrel.engine.automatic import settle_without_data
from mmrel.utils import UsageError
from mmrel.utils.checkpoint_content import check_weights
from mmrel.utils.checkpoint_file import read_checkpoint


def load_pretraining(config: Any, checkpoint: str) -> nn.Module:
    """Build the model of a pretraining and load weights into it, every key of which must fit.

    Args:
        config: the pretraining's, with its default scope already set.
        checkpoint: path of a checkpoint of that pretraining; nothing stored in it is executed.

    Returns:
        The model on this machine's device, batch norms not synchronised.

    Raises:
        UsageError: there is no such file, it cannot be read safely, or it does not fit the config.
    """
    try:
        state = check_weights(read_checkpoint(checkpoint), checkpoint)
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error
    settle_without_data(config)
    settings = dict(config.model)
    settings.setdefault("data_preprocessor", config.get("data_preprocessor"))
    model = revert_sync_batchnorm(MODELS.build(settings))
    try:
        model.load_state_dict(state["state_dict"])
    except Exception as error:  # of a module's own loading, whatever does not fit it
        raise UsageError(
            f"{checkpoint} does not fit the model of {config.filename}: {error}. Give the "
            "configuration that it was trained with, and the same --cfg-options."
        ) from error
    return model.to(get_device())
