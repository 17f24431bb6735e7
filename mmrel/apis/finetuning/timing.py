"""How long a training step takes here, measured, so that a run can be made to fit a number of hours."""

import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, DefaultScope

from mmrel.utils.config import load_config, merge_options

STEPS = 4
SHARE = 0.85
"""Of the time given, what goes into steps; the rest is for evaluations and checkpoints."""


def seconds_per_step(config_file: Path, options: dict[str, Any] | None) -> float:
    """Seconds of one training step with its loading, the fastest of a few after the first.

    Args:
        config_file: of the run.
        options: that the run is given as ``--cfg-options``.
    """
    config = load_config(str(config_file))
    merge_options(config, options)
    with DefaultScope.overwrite_default_scope(config.default_scope):
        loader = config.train_dataloader
        dataset = DATASETS.build(loader.dataset)
        model: Any = MODELS.build(config.model).to(get_device())
        wrapper = build_optim_wrapper(model, config.optim_wrapper)
        model.train()
        times = []
        for step in range(STEPS):
            begun = time.monotonic()
            items = [
                dataset[(step * loader.batch_size + k) % len(dataset)]
                for k in range(loader.batch_size)
            ]
            losses = model.train_step(pseudo_collate(items), wrapper)
            losses["loss"].item()  # waits for the device
            times.append(time.monotonic() - begun)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return min(times[1:])


def steps_in(hours: float, seconds: float) -> int:
    """Number of steps that fit."""
    return max(1, int(SHARE * 3600 * hours / seconds))
