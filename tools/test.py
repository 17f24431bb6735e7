"""Tests a trained model with the loader and the metrics of its configuration.

Example::

    python tools/test.py configs/detection/mask-rcnn_vit-tiny-p8_scenes.py CHECKPOINT.pth

The options are those of mmpretrain's tool of the same name.
"""

import argparse
from copy import deepcopy
from typing import Any

from mmrel.launch.options import (
    add_common_arguments,
    fit_workers,
    parse,
    set_loader_defaults,
    set_work_dir,
)
from mmrel.utils import UsageError, reports_usage_errors
from mmrel.utils.config import check_load_from, load_config, merge_options, prepare_work_dir
from mmrel.utils.device import on_cpu


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Test (and evaluate) a model")
    parser.add_argument("config", help="the configuration file")
    parser.add_argument("checkpoint", help="the checkpoint file")
    parser.add_argument("--work-dir", help="where the log and the metrics go")
    parser.add_argument("--out", help="file for the results")
    parser.add_argument(
        "--out-item", choices=["metrics", "pred"], help="what --out receives; default: predictions"
    )
    parser.add_argument("--amp", action="store_true", help="test in mixed precision")
    parser.add_argument("--show-dir", help="folder for pictures of the predictions")
    parser.add_argument("--show", action="store_true", help="show the predictions in a window")
    parser.add_argument("--interval", type=int, default=1, help="show every this many samples")
    parser.add_argument("--wait-time", type=float, default=2, help="seconds that a window stays")
    parser.add_argument("--tta", action="store_true", help="augment at test time")
    add_common_arguments(parser)
    return parse(parser)


def merge_args(config: Any, args: argparse.Namespace) -> None:
    """Write the command line into the configuration."""
    config.launcher = args.launcher
    set_work_dir(config, args)
    config.load_from = args.checkpoint
    if args.amp:
        config.test_cfg.fp16 = True
    if args.show or args.show_dir is not None:
        enable_visualization(config, args)
    if args.tta:
        enable_tta(config)
    defaults = dict(pin_memory=not on_cpu(), collate_fn=dict(type="default_collate"))
    set_loader_defaults(config, "test_dataloader", defaults)
    if args.no_pin_memory:
        config.test_dataloader.pin_memory = False
    fit_workers(config)
    merge_options(config, args.cfg_options)


def enable_visualization(config: Any, args: argparse.Namespace) -> None:
    """Make the visualisation hook draw predictions (``--show``, ``--show-dir``)."""
    hook = (config.get("default_hooks") or {}).get("visualization")
    if hook is None:
        raise UsageError(
            f"--show and --show-dir need a visualisation hook, and {config.filename} has none. Add "
            "default_hooks=dict(visualization=dict(type='VisualizationHook')) to it; for mmdet the "
            "type is 'DetVisualizationHook', for mmseg 'SegVisualizationHook'."
        )
    if config.get("default_scope") == "mmpretrain":
        hook.enable = True
        hook.out_dir = args.show_dir
    else:
        hook.draw = True
        if config.get("default_scope") == "mmdet":
            hook.test_out_dir = args.show_dir
        elif args.show_dir is not None:
            config.visualizer.save_dir = args.show_dir
    hook.show = args.show
    hook.wait_time = args.wait_time
    hook.interval = args.interval


def enable_tta(config: Any) -> None:
    """Wrap model and pipeline for test-time augmentation (``--tta``).

    The configuration's ``tta_model`` and ``tta_pipeline`` are used; a classification configuration
    without them gets a horizontal flip.
    """
    if not {"tta_model", "tta_pipeline"} <= set(config):
        if config.get("default_scope") != "mmpretrain":
            raise UsageError(
                f"--tta needs tta_model and tta_pipeline, and {config.filename} lacks at least one. "
                "Add both to the configuration, or leave --tta out."
            )
        config.setdefault("tta_model", dict(type="mmpretrain.AverageClsScoreTTA"))
        config.setdefault("tta_pipeline", flip_pipeline(config.test_dataloader.dataset.pipeline))
    config.model = dict(**config.tta_model, module=config.model)
    config.test_dataloader.dataset.pipeline = config.tta_pipeline


def flip_pipeline(pipeline: list[Any]) -> list[Any]:
    """Return the pipeline with its last step, the packing, done with and without a flip."""
    flips = [dict(type="RandomFlip", prob=1.0), dict(type="RandomFlip", prob=0.0)]
    augment = dict(type="TestTimeAug", transforms=[flips, [deepcopy(pipeline[-1])]])
    return [*deepcopy(pipeline[:-1]), augment]


def check_testable(config: Any, args: argparse.Namespace) -> None:
    """Refuse what cannot be tested, before anything is built."""
    if args.out is None and args.out_item is not None:
        raise UsageError(f"--out-item {args.out_item} needs a file: give it with --out FILE.")
    absent = [
        key for key in ("test_cfg", "test_dataloader", "test_evaluator") if config.get(key) is None
    ]
    if absent:
        raise UsageError(
            f"{config.filename} cannot be tested: it has no {', '.join(absent)}. Pretraining "
            "configurations have none; tools/knn.py measures their checkpoints."
        )


@reports_usage_errors
def main() -> None:
    """Check what the user gave, then test."""
    args = parse_args()
    config = load_config(args.config, args.cfg_options)
    check_testable(config, args)
    merge_args(config, args)
    check_load_from(config)
    prepare_work_dir(config)
    import mmengine
    from mmengine.evaluator import DumpResults

    from mmrel.launch.runner import build_runner
    from mmrel.launch.safe_loading import load_safely

    load_safely(args.trust_checkpoint)
    runner = build_runner(config)
    if args.out and args.out_item in ("pred", None):
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    metrics = runner.test()
    if args.out and args.out_item == "metrics":
        mmengine.dump(metrics, args.out)


if __name__ == "__main__":
    main()
