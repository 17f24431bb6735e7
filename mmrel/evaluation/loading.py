"""What every evaluation of frozen features begins with: an ordered loader, and a network that is left as it was."""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmrel.datasets.class_names import share_classes
from mmrel.datasets.transforms.load import share_depth
from mmrel.utils.config import LOADER_TIMEOUT
from mmrel.utils.device import usable_cores
from mmrel.utils.sharding import root_gathered
from mmrel.utils.worker_signals import shield_workers


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards, each module's mode and all generators are as before."""
    modes = [(module, module.training) for module in network.modules()]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices), root_gathered(network):
        network.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def usual_workers() -> int:
    """Processes that read images where nothing else is said: one per core, at most 4."""
    return min(4, usable_cores())


def build_loader(cfg: dict[str, Any], max_samples: int | None = None) -> DataLoader:
    """An ordered loader, for at most ``max_samples`` images spread evenly over the data set.

    Args:
        cfg: dataloader configuration; a missing sampler is an ordered ``DefaultSampler``.
        max_samples: ``None`` for all.

    Raises:
        ValueError: ``max_samples`` is 0 or negative.
    """
    if max_samples is not None and max_samples < 1:
        raise ValueError(
            f"at most {max_samples} images are asked for; give 1 or more, or None for all"
        )
    cfg = copy.deepcopy(dict(cfg))
    cfg.setdefault("sampler", {"type": "DefaultSampler", "shuffle": False})
    dataset = DATASETS.build(cfg["dataset"])
    dataset.full_init()
    if max_samples is not None and max_samples < len(dataset):
        spread = np.linspace(0, len(dataset) - 1, max_samples).round().astype(int)
        dataset.get_subset_(spread.tolist())
    cfg["dataset"] = dataset
    if cfg.get("num_workers"):
        cfg.setdefault("timeout", LOADER_TIMEOUT)
    loader = Runner.build_dataloader(cfg, seed=0)
    shield_workers(loader)
    return loader


def build_labelled_pair(
    bank_cfg: dict[str, Any], val_cfg: dict[str, Any], max_bank: int | None = None
) -> tuple[DataLoader, DataLoader]:
    """Loaders of a bank and of the images that are classified by it, whose labels mean the same.

    The bank says how classes are numbered and how values of more than 8 bits are read.

    Args:
        bank_cfg: dataloader configuration of the bank.
        val_cfg: of the images to classify.
        max_bank: as ``max_samples`` of :func:`build_loader`.

    Raises:
        UsageError: classes of the latter are missing in the bank.
    """
    bank, val = build_loader(bank_cfg, max_bank), build_loader(val_cfg)
    share_classes(bank.dataset, val.dataset, "bank", "validation set")
    share_depth(bank.dataset, val.dataset)
    return bank, val
