"""Weighted k-NN accuracy of frozen features (the protocol of DINO and iBOT).

Of checkpoints, whoever trained them, on a folder with one folder of images per class::

    python tools/knn.py backbone.pth data/imagenet --k 10 20 100 200 --out knn.json
    python tools/knn.py sere.pth dino.pth photos --random --thumbnails

A folder that holds ``train`` and ``val`` is taken as both; ``--val`` names another folder to classify. Without a split
each image is classified by its nearest others. ``--random`` and ``--thumbnails`` tell what the figure is worth.

Of a pretraining's checkpoint, with the bank, the validation images and the feature of its configuration's
``mmrel.KNNHook``::

    python tools/knn.py configs/sere/ibot-sere_vit-small-p16_8xb128-amp-coslr-100e_in1k.py \
        work_dirs/sere/epoch_100.pth --k 10 20 100 200 --out knn.json

Nothing stored in a checkpoint is executed.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrel.launch.arguments import (
    ConfigOptions,
    add_readout,
    add_weights,
    positive,
    readout_of,
    weights_of,
)
from mmrel.utils import UsageError, reports_usage_errors
from mmrel.utils.config import load_config, merge_options
from mmrel.utils.files import write_text_atomically

if TYPE_CHECKING:
    from mmrel.engine.hooks import KNNHook

HOOK = "mmrel.KNNHook"
CONFIG_SUFFIXES = (".py", ".json", ".yml", ".yaml")
HOOK_OPTIONS = ("cfg_options",)
FOLDER_OPTIONS = (
    *("val", "random", "thumbnails", "out_indices", "no_norm", "image_size", "resize", "device"),
    *("mean", "std", "num_heads", "workers", "batch_size", "max_bad_fraction"),
)


def parse_args() -> tuple[argparse.Namespace, bool]:
    """Read the command line; also whether it names a configuration."""
    parser = argparse.ArgumentParser(
        description="k-NN accuracy of frozen features",
        usage="%(prog)s CHECKPOINT [CHECKPOINT ...] FOLDER [options]\n"
        "       %(prog)s CONFIG CHECKPOINT [options]",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="CHECKPOINT FOLDER",
        help="checkpoints and a folder of class folders; or a pretraining's configuration and its checkpoint",
    )
    parser.add_argument("--k", nargs="+", type=int, help="numbers of neighbours")
    parser.add_argument("--temperature", type=float, help="of the votes (default: 0.07)")
    parser.add_argument("--max-bank", type=positive, help="use at most so many bank images")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm"], default="none")
    add_weights(parser)
    add_readout(parser)
    parser.set_defaults(network=None)
    _add_folder_options(parser)
    parser.add_argument(
        "--cfg-options", nargs="+", action=ConfigOptions, help="settings of CONFIG to override"
    )
    args = parser.parse_args()
    of_config = _names_config(args.sources)
    _refuse_others(parser, args, of_config)
    return args, of_config


def _add_folder_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--val", type=Path, metavar="FOLDER", help="images to classify")
    parser.add_argument("--random", action="store_true", help="also random weights, per network")
    parser.add_argument("--thumbnails", action="store_true", help="also 16x16 thumbnails")
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument(
        "--workers", type=int, help="processes that read images (default: one per core, at most 4)"
    )
    parser.add_argument(
        "--max-bad-fraction", type=float, default=0.001, help="unreadable files tolerated"
    )


def _names_config(sources: list[str]) -> bool:
    """Whether these are a configuration and a checkpoint."""
    first, *others = map(Path, sources)
    return first.suffix in CONFIG_SUFFIXES and len(others) == 1 and not others[0].is_dir()


def _refuse_others(
    parser: argparse.ArgumentParser, args: argparse.Namespace, of_config: bool
) -> None:
    """An option of the other form would have no effect."""
    given = {name for name in vars(args) if getattr(args, name) != parser.get_default(name)}
    if others := sorted(given & set(FOLDER_OPTIONS if of_config else HOOK_OPTIONS)):
        form = "CONFIG CHECKPOINT" if of_config else "CHECKPOINT FOLDER"
        names = ", ".join("--" + name.replace("_", "-") for name in others)
        why = f"its {HOOK} says what is read" if of_config else "there is no configuration"
        parser.error(f"{names} cannot be used with {form}: {why}")
    if args.out is not None and args.out.is_dir():
        parser.error(f"--out '{args.out}' is a folder; give the name of the file to write")
    if len(args.sources) < 2:
        parser.error(
            f"only '{args.sources[0]}' is given; give a checkpoint and a folder with one folder of images per class, "
            "or a pretraining's configuration and its checkpoint"
        )


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


def evaluate_config(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """A checkpoint by its configuration's hook: what to print, and what to write."""
    from mmengine.registry import init_default_scope

    from mmrel.apis.pretrained_model import load_pretraining
    from mmrel.launch.processes import join_processes

    config = load_config(args.sources[0])
    merge_options(config, args.cfg_options)
    join_processes(args.launcher, config)
    init_default_scope(config.get("default_scope", "mmpretrain"))
    hook = build_hook(config, args)
    results = hook.evaluate(load_pretraining(config, args.sources[1]))
    text = "\n".join(f"{name}: {value:.4f}" for name, value in results.items())
    names = dict(zip(("config", "checkpoint"), args.sources, strict=True))
    return text, {**results, **names, "network": hook.network, "feature": hook.feature}


def evaluate_folder(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Checkpoints on a folder: what to print, and what to write.

    Raises:
        UsageError: what was given does not fit, or cannot be read.
    """
    from mmrel.apis.knn_comparison import compare_knn, describe_rows
    from mmrel.datasets.bad_samples import TooManyBadSamplesError
    from mmrel.launch.processes import join_processes

    *checkpoints, folder = args.sources
    join_processes(args.launcher)
    options = _options(args)
    try:
        rows = compare_knn(checkpoints, folder, args.val, **options)
    except TooManyBadSamplesError as error:
        print(file=sys.stderr)  # ends the line of the progress
        # From a loader's process the message comes at the end of a traceback.
        last = str(error).strip().splitlines()[-1]
        raise UsageError(last.rpartition("TooManyBadSamplesError: ")[2]) from error
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error
    report = {"temperature": options["temperature"], "results": [row.as_dict() for row in rows]}
    return describe_rows(rows), report


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """The command line as ``compare_knn`` takes it."""
    from mmrel.launch.devices import usable_device
    from mmrel.launch.progress import progress_bar

    return dict(
        weights={**weights_of(args), "network": args.network or "teacher"},
        device=usable_device(args.device),
        random=args.random,
        thumbnails=args.thumbnails,
        readout=readout_of(args),
        k=args.k,
        temperature=0.07 if args.temperature is None else args.temperature,
        batch_size=args.batch_size,
        workers=args.workers,
        max_train=args.max_bank,
        max_bad_fraction=args.max_bad_fraction,
        progress=progress_bar(),
    )


@reports_usage_errors
def main() -> None:
    """Evaluate, print and write."""
    args, of_config = parse_args()
    from mmengine.dist import get_rank

    from mmrel.launch.safe_loading import load_safely

    load_safely()
    text, report = evaluate_config(args) if of_config else evaluate_folder(args)
    if get_rank() != 0:
        return
    print(text)
    if args.out is not None:
        write_text_atomically(args.out, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
