"""Weighted k-NN accuracy of a pretraining checkpoint (the protocol of DINO and iBOT).

Example::

    python tools/knn.py configs/sere/ibot-sere_vit-small-p16_8xb128-amp-coslr-100e_in1k.py \
        work_dirs/sere/epoch_100.pth --k 10 20 100 200 --out knn.json

The bank, the validation images and the feature are those of the configuration's ``mmrel.KNNHook``. Nothing
stored in the checkpoint is executed.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrel.launch.arguments import ConfigOptions
from mmrel.utils import UsageError, reports_usage_errors
from mmrel.utils.config import load_config, merge_options
from mmrel.utils.files import write_text_atomically

if TYPE_CHECKING:
    from mmrel.engine.hooks import KNNHook

HOOK = "mmrel.KNNHook"


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="k-NN accuracy of a pretraining checkpoint")
    parser.add_argument("config", help="the configuration file of the pretraining")
    parser.add_argument("checkpoint", help="a checkpoint of that pretraining")
    parser.add_argument("--k", nargs="+", type=int, help="numbers of neighbours")
    parser.add_argument("--temperature", type=float, help="of the votes")
    parser.add_argument("--feature", choices=["cls", "avg", "cls+avg"], help="which tokens")
    parser.add_argument("--network", choices=["teacher", "student"], help="whose backbone")
    parser.add_argument("--max-bank", type=int, help="use at most so many bank images")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    parser.add_argument(
        "--cfg-options", nargs="+", action=ConfigOptions, help="settings to override"
    )
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm"], default="none")
    return parser.parse_args()


def build_hook(config: Any, args: argparse.Namespace) -> "KNNHook":
    """The configuration's k-NN hook with the command line's changes.

    Raises:
        UsageError: if the configuration has none.
    """
    from mmrel.engine.hooks import KNNHook

    named = (config.get("default_hooks") or {}).values()
    found = [
        dict(hook)
        for hook in (*(config.get("custom_hooks") or []), *named, config.get("knn"))
        if isinstance(hook, dict) and hook.get("type") == HOOK
    ]
    if not found:
        raise UsageError(
            f"{config.filename} has no {HOOK}, so there is no bank and no validation set to classify. "
            f"Add knn=dict(type='{HOOK}', bank_dataloader=..., val_dataloader=...) to its default_hooks."
        )
    settings = {key: value for key, value in found[0].items() if key != "type"}
    for name in ("k", "temperature", "feature", "network", "max_bank"):
        if getattr(args, name) is not None:
            settings[name] = getattr(args, name)
    return KNNHook(**settings)


@reports_usage_errors
def main() -> None:
    """Evaluate, print and write."""
    args = parse_args()
    from mmrel.launch.safe_loading import load_safely

    load_safely()
    config = load_config(args.config)
    from mmengine.dist import get_rank, init_dist
    from mmengine.registry import init_default_scope
    from torch import distributed

    from mmrel.apis.pretrained_model import load_pretraining
    from mmrel.launch.processes import prepare_cpu_distributed

    merge_options(config, args.cfg_options)
    config.launcher = args.launcher
    prepare_cpu_distributed(config)
    if args.launcher != "none" and not distributed.is_initialized():
        init_dist(args.launcher)
    init_default_scope(config.get("default_scope", "mmpretrain"))
    hook = build_hook(config, args)
    results = hook.evaluate(load_pretraining(config, args.checkpoint))
    if get_rank() != 0:
        return
    for name, value in results.items():
        print(f"{name}: {value:.4f}")
    if args.out is not None:
        report = {
            **results,
            "config": args.config,
            "checkpoint": args.checkpoint,
            "network": hook.network,
            "feature": hook.feature,
        }
        write_text_atomically(args.out, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
