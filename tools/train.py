"""Trains a model: pretraining, detection, segmentation, classification; whatever the config says.

Example::

    python tools/train.py configs/sere/ibot-sere_vit-small-p16_custom.py \
        --cfg-options data_root=/my/photos

The options are those of mmpretrain's tool of the same name.
"""

import argparse
from typing import Any

from mmrel.launch.options import (
    add_common_arguments,
    enable_amp,
    fit_workers,
    leave_out_amp,
    parse,
    set_loader_defaults,
    set_work_dir,
)
from mmrel.utils import UsageError, reports_usage_errors
from mmrel.utils.config import (
    LOADER_TIMEOUT,
    check_load_from,
    check_pretrained,
    load_config,
    merge_options,
    prepare_work_dir,
)
from mmrel.utils.device import on_cpu

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train a model")
    parser.add_argument("config", help="the configuration file")
    parser.add_argument("--work-dir", help="where logs and checkpoints go")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        help="continue from this checkpoint, or from the latest one in the work dir",
    )
    parser.add_argument("--amp", action="store_true", help="train in mixed precision")
    parser.add_argument(
        "--no-validate",
        action="store_true",
        help="do not validate while training, and so keep no best checkpoint",
    )
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate by the real batch size over auto_scale_lr.base_batch_size",
    )
    parser.add_argument(
        "--no-persistent-workers", action="store_true", help="start new loader workers every epoch"
    )
    add_common_arguments(parser)
    return parse(parser)


def merge_args(config: Any, args: argparse.Namespace) -> None:
    """Write the command line into the configuration."""
    if args.no_validate:
        config.val_cfg = config.val_dataloader = config.val_evaluator = None
        forget_best_of_validation(config)
    config.launcher = args.launcher
    set_work_dir(config, args)
    if args.amp:
        enable_amp(config)
    else:
        leave_out_amp(config, args.cfg_options)
    if args.resume is not None:
        config.resume = True
        config.load_from = None if args.resume == "auto" else args.resume
    if args.auto_scale_lr:
        enable_lr_scaling(config)
    fit_workers(config)
    set_loaders(config, args)
    merge_options(config, args.cfg_options)


def forget_best_of_validation(config: Any) -> None:
    """Keep no best checkpoint by a metric that only the validation reports."""
    hook = (config.get("default_hooks") or {}).get("checkpoint") or {}
    metrics = hook.get("save_best") or ()
    metrics = [metrics] if isinstance(metrics, str) else metrics
    if metrics and not all(name.startswith("knn/") for name in metrics):
        hook.save_best = None


def enable_lr_scaling(config: Any) -> None:
    """Turn on MMEngine's scaling of the learning rate (``--auto-scale-lr``)."""
    if "base_batch_size" not in (config.get("auto_scale_lr") or {}):
        raise UsageError(
            f"--auto-scale-lr was given, but {config.filename} has no "
            "auto_scale_lr.base_batch_size: the batch size that its learning rate is for. Add auto_scale_lr=dict("
            "base_batch_size=...) or set optim_wrapper.optimizer.lr yourself."
        )
    config.auto_scale_lr.enable = True


def set_loaders(config: Any, args: argparse.Namespace) -> None:
    """Complete the data loaders and apply the switches for them."""
    for field in LOADERS:
        loader = config.get(field)
        if loader is None:
            continue
        workers = loader.get("num_workers", 0)
        defaults = dict(
            pin_memory=not on_cpu(),
            persistent_workers=workers > 0,
            collate_fn=dict(type="default_collate"),
        )
        set_loader_defaults(config, field, defaults)
        if workers:
            loader.setdefault("timeout", LOADER_TIMEOUT)
        if args.no_pin_memory or on_cpu():
            loader.pin_memory = False
        if args.no_persistent_workers:
            loader.persistent_workers = False


@reports_usage_errors
def main() -> None:
    """Check what the user gave, then train."""
    args = parse_args()
    config = load_config(args.config, args.cfg_options)
    merge_args(config, args)
    check_load_from(config)
    check_pretrained(config)
    prepare_work_dir(config)
    from mmrel.launch.runner import build_runner
    from mmrel.launch.safe_loading import load_safely

    load_safely(args.trust_checkpoint)
    build_runner(config).train()


if __name__ == "__main__":
    main()
