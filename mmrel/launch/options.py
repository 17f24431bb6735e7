"""What ``tools/train.py`` and ``tools/test.py`` do between a configuration and a runner.

torch is imported by the functions that need it, so that a mistake in the arguments shows at once.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmrel.launch.arguments import ConfigOptions
from mmrel.utils.config import dicts_in
from mmrel.utils.device import chosen_device, emulates, on_cpu, usable_cores
from mmrel.utils.errors import UsageError
from mmrel.utils.network_keys import AUTO

FORMATS = {"fp16": "float16", "bf16": "bfloat16"}
PRECISION_OPTIONS = {"precision", "optim_wrapper.precision"}
"""Options of the command line that choose a precision; the first one, of a recipe for images of one's own."""

MOST_WORKERS = 10
"""Loader processes of one training process where the configuration leaves the number to the machine."""


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=ConfigOptions,
        help="settings to override, as key=value with dots into dicts and lists, such as "
        "train_dataloader.batch_size=32 or key='[a,b]'; data_root=/my/photos replaces the data "
        "folder everywhere, and network=vit-tiny the network of a *_custom.py recipe",
    )
    parser.add_argument(
        "--no-pin-memory", action="store_true", help="do not pin the memory of loaded batches"
    )
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="how the processes of a distributed run were started",
    )
    parser.add_argument(
        "--trust-checkpoint",
        action="store_true",
        help="load checkpoints with torch's own unpickler, which executes whatever code they hold; only for files "
        "whose writer you trust (SECURITY.md)",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0)


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line and set ``LOCAL_RANK`` if the launcher did not."""
    args = parser.parse_args()
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    return args


def set_work_dir(config: Any, args: argparse.Namespace) -> None:
    """Choose the work dir: the command line, else the configuration, else its file name."""
    if args.work_dir is not None:
        config.work_dir = args.work_dir
    elif config.get("work_dir") is None:
        config.work_dir = str(Path("work_dirs") / Path(args.config).stem)


def set_loader_defaults(config: Any, field: str, defaults: dict[str, Any]) -> None:
    """Fill what a data loader of a pretraining or classification configuration leaves open.

    Detection and segmentation loaders are left as their configurations say: their batches are lists
    of images of different sizes, which mmpretrain's defaults cannot collate.
    """
    loader = config.get(field)
    if loader is not None and config.get("default_scope") in ("mmpretrain", "mmrel"):
        for name, value in defaults.items():
            loader.setdefault(name, value)


def enable_amp(config: Any) -> None:
    """Turn on mixed precision for training (``--amp``).

    Raises:
        UsageError: If the optimizer wrapper has no mixed precision, or none on this device.
    """
    wrapper = config.optim_wrapper
    name = _class_name(wrapper)
    if name == "SelfSupOptimWrapper":
        if wrapper.get("precision") not in FORMATS:
            wrapper.precision = "fp16"
    elif name in ("OptimWrapper", "AmpOptimWrapper"):
        if on_cpu():
            raise UsageError(
                "--amp was given, but MMEngine's AmpOptimWrapper needs a GPU and there is none. "
                "Leave --amp out to train in float32 on the CPU."
            )
        wrapper.type = "AmpOptimWrapper"
        wrapper.setdefault("loss_scale", "dynamic")
        if (wrapper.get("clip_grad") or {}).get("error_if_nonfinite"):
            # Gradients that overflow are what the loss scale is found by: its update skips the step.
            wrapper.clip_grad.error_if_nonfinite = False
    else:
        raise UsageError(
            f"--amp works with the optimizer wrappers OptimWrapper, AmpOptimWrapper and "
            f"mmrel.SelfSupOptimWrapper, not with {name!r}. Leave --amp out or change "
            "optim_wrapper.type."
        )


def leave_out_amp(config: Any, options: Mapping[str, Any] | None = None) -> None:
    """Train in float32 what a recipe trains in mixed precision and this device cannot, or only slowly.

    MMEngine's wrapper for it needs a GPU. ``mmrel.SelfSupOptimWrapper`` computes in half precision on CPUs too, but
    many of them, and older GPUs in bfloat16, take several times as long for it as for float32.

    Args:
        config: the configuration.
        options: what ``--cfg-options`` gave; a precision there stays.
    """
    wrapper = config.get("optim_wrapper") or {}
    kind = _class_name(wrapper)
    if kind == "AmpOptimWrapper" and on_cpu():
        wrapper["type"] = "OptimWrapper"
        for name in ("loss_scale", "dtype", "use_fsdp"):
            wrapper.pop(name, None)
        _tell("There is no GPU, so this trains in float32; the recipe's mixed precision needs one.")
    elif kind == "SelfSupOptimWrapper" and PRECISION_OPTIONS.isdisjoint(options or ()):
        _leave_out_slow_precision(wrapper, own_images="network" in config)


def _leave_out_slow_precision(wrapper: Any, own_images: bool) -> None:
    """Set float32 where it is faster; a recipe for images of one's own takes float16 on no CPU."""
    precision, device = wrapper.get("precision"), chosen_device()
    cpu = device.type == "cpu"
    if emulates(precision, device) or (own_images and precision == "fp16" and cpu):
        wrapper["precision"] = "fp32"
        _tell(
            f"This trains in float32, since this {'CPU' if cpu else 'GPU'} computes slowly in "
            f"{FORMATS[precision]}; --cfg-options optim_wrapper.precision=... sets another precision."
        )


def fit_workers(config: Any) -> None:
    """Let a run on a CPU start no more loader workers than it has cores. On a GPU machine the recipe's numbers stay.

    Where they are ``"auto"``, a process starts as many as it has cores, at most 10. It comes before ``--cfg-options``,
    which win.
    """
    cores, more = usable_cores(), 0
    share = max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    for settings in dicts_in([config[name] for name in config]):
        if settings.get("num_workers") == AUTO:
            settings["num_workers"] = min(MOST_WORKERS, share)
    for settings in dicts_in([config[name] for name in config]) if on_cpu() else ():
        workers = settings.get("num_workers")
        if isinstance(workers, int) and workers > cores:
            settings["num_workers"], more = cores, max(more, workers)
    if more:
        _tell(
            f"Loaders start {cores} worker(s), one for each core, instead of {more}; "
            "--cfg-options train_dataloader.num_workers=... sets another number."
        )


def _class_name(settings: Any) -> str:
    kind = settings.get("type", "OptimWrapper")
    return (kind if isinstance(kind, str) else kind.__name__).rpartition(".")[2]


def _tell(text: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(text, file=sys.stderr)
