"""Several processes on CPUs.

MMEngine's ``init_dist`` selects a CUDA device before anything else, and its default wrapper names one; both
fail without a GPU. This prepares what ``Runner`` then finds done.
"""

import os
from typing import Any

import torch
from mmengine.dist import init_dist, is_distributed
from torch import distributed


def prepare_cpu_distributed(cfg: dict[str, Any]) -> None:
    """Let ``Runner.from_cfg(cfg)`` train with gloo on CPUs, if it was launched by torchrun without a GPU.

    Call it before the runner is built. With a GPU, or without a launcher, it does nothing.

    Args:
        cfg: the configuration; ``model_wrapper_cfg`` is filled in.
    """
    launched = cfg.get("launcher", "none") == "pytorch" and "RANK" in os.environ
    if not launched or torch.cuda.is_available():
        return
    if not is_distributed():
        distributed.init_process_group("gloo")
    wrapper = dict(cfg.get("model_wrapper_cfg") or {})
    if shards(wrapper):
        return
    wrapper.setdefault("type", "MMDistributedDataParallel")
    wrapper.setdefault("broadcast_buffers", False)
    cfg["model_wrapper_cfg"] = {**wrapper, "device_ids": None}


def planned_processes(launcher: str) -> int:
    """Processes that the launcher has started, before they have joined.

    Args:
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
    """
    names = {"pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS", "mpi": "OMPI_COMM_WORLD_SIZE"}
    return int(os.environ.get(names.get(launcher, ""), "1"))


def join_processes(launcher: str, cfg: dict[str, Any] | None = None) -> None:
    """Join the other processes of a tool that evaluates, on GPUs or CPUs; without a launcher it does nothing.

    Args:
        launcher: ``'none'``, ``'pytorch'`` or ``'slurm'``.
        cfg: the configuration, if there is one.
    """
    cfg = {} if cfg is None else cfg
    cfg["launcher"] = launcher
    prepare_cpu_distributed(cfg)
    if launcher != "none" and not is_distributed():
        init_dist(launcher)


def shards(wrapper: dict[str, Any] | None) -> bool:
    """Whether a ``model_wrapper_cfg`` shares the model out among the processes (``mmrel.FullySharded``)."""
    kind = (wrapper or {}).get("type", "")
    name = kind if isinstance(kind, str) else kind.__name__
    return name.rpartition(".")[2] == "FullySharded"
