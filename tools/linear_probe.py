"""Linear probe, or logistic regression for few labels, on the frozen features of a checkpoint.

Whoever trained it; on a folder with one folder of images per class::

    python tools/linear_probe.py backbone.pth data/imagenet --out probe.json
    python tools/linear_probe.py backbone.pth photos --random --thumbnails
    python tools/linear_probe.py backbone.pth data/imagenet --method logistic --images data/imagenet/splits/1percent.txt

A folder that holds ``train`` and ``val`` is taken as both; ``--val`` names another folder to judge by; without any, a
fifth of every class is held out. The features are computed once, without augmentation, and all rates (iBOT's 45) or
strengths are tried on them; the best is chosen on the images that judge, which flatters it a little. The papers' probes
augment their training images: those are the recipes, for instance ``python tools/train.py
configs/ibot/benchmarks/vit-small-p16_8xb128-linear-45heads-100e_in1k.py --cfg-options
model.backbone.init_cfg.checkpoint=backbone.pth``. Nothing stored in a checkpoint is executed.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrel.launch.arguments import add_weights, positive, weights_of
from mmrel.utils import UsageError, reports_usage_errors
from mmrel.utils.files import write_text_atomically

if TYPE_CHECKING:
    from mmrel.apis.linear_probe import Fit, ProbeRow

CHOICES = ("val", "shots", "fraction", "images", "holdout", "seed")
OPTIONS = ("n_last_blocks", "avgpool", "resize", "batch_size", "workers", "max_bad_fraction")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Linear probe on frozen features")
    parser.add_argument("checkpoint", help="or a pretraining's config, for random weights")
    parser.add_argument("data", help="folder with one folder of images per class")
    parser.add_argument("--val", metavar="FOLDER", help="images to judge by")
    parser.add_argument("--method", choices=["linear", "logistic"], default="linear")
    parser.add_argument("--out", type=Path, help="JSON file for the result, all settings in it")
    parser.add_argument("--random", action="store_true", help="also random weights")
    parser.add_argument("--thumbnails", action="store_true", help="also 16x16 thumbnails")
    _add_choice(parser)
    _add_training(parser)
    _add_feature(parser)
    add_weights(parser)
    return parser.parse_args()


def _add_choice(parser: argparse.ArgumentParser) -> None:
    chosen = parser.add_argument_group("images to train on (default: all)")
    one = chosen.add_mutually_exclusive_group()
    one.add_argument("--shots", type=positive, help="so many of each class, drawn at random")
    one.add_argument("--fraction", type=float, help="a share of each class, drawn at random")
    one.add_argument("--images", metavar="LIST", help="those that a text file names, one a line")
    chosen.add_argument(
        "--holdout", type=float, default=0.2, help="share to judge by, without a split (0.2)"
    )
    chosen.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("classifiers")
    group.add_argument(
        "--settings",
        type=float,
        nargs="+",
        help="learning rates per 256 images, or strengths of the penalty (default: the papers')",
    )
    group.add_argument("--epochs", type=positive, default=100, help="of SGD (default: 100)")
    group.add_argument("--sgd-batch", type=positive, default=1024, help="of SGD (default: 1024)")


def _add_feature(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("features (default: the papers' for this size of network)")
    group.add_argument(
        "--n-last-blocks", type=positive, help="blocks whose class tokens are joined"
    )
    group.add_argument(
        "--avgpool",
        type=int,
        choices=[0, 1, 2],
        help="0: class tokens; 1: mean patch token; 2: both",
    )
    group.add_argument("--image-size", type=positive, default=224, help="of the central crop")
    group.add_argument("--resize", type=positive, help="short side before it (default: 8/7 of it)")
    group.add_argument("--batch-size", type=positive, default=64, help="images computed at once")
    group.add_argument("--workers", type=int, default=4, help="processes that read images")
    group.add_argument("--max-bad-fraction", type=float, default=0.001, help="unreadable files")


def evaluate(args: argparse.Namespace, fit: "Fit") -> list["ProbeRow"]:
    """The checkpoint's row, and those of the baselines."""
    from mmrel.apis.backbone import get_backbone
    from mmrel.apis.baselines import random_like
    from mmrel.apis.linear_probe import probe_backbone, probe_thumbnails
    from mmrel.apis.probe_images import choose_images
    from mmrel.launch.devices import usable_device
    from mmrel.launch.progress import progress_bar

    images = choose_images(args.data, **{name: getattr(args, name) for name in CHOICES})
    backbone = get_backbone(args.checkpoint, **weights_of(args)).to(usable_device(args.device))
    options: dict[str, Any] = {name: getattr(args, name) for name in OPTIONS}
    options |= dict(crop=args.image_size, progress=progress_bar())
    rows = [probe_backbone(Path(args.checkpoint).name, backbone, images, fit, **options)]
    if args.random:
        rows.append(probe_backbone("random weights", random_like(backbone), images, fit, **options))
    if args.thumbnails:
        rows.append(probe_thumbnails(images, fit, progress=options["progress"]))
    return rows


@reports_usage_errors
def main() -> None:
    """Evaluate, print and write."""
    args = parse_args()
    from mmrel.launch.safe_loading import load_safely

    load_safely()
    from mmrel.apis.linear_probe import Fit, describe_probes
    from mmrel.datasets.bad_samples import TooManyBadSamplesError

    settings = None if args.settings is None else tuple(args.settings)
    fit = Fit(args.method, settings, args.epochs, args.sgd_batch, args.seed)
    try:
        rows = evaluate(args, fit)
    except TooManyBadSamplesError as error:
        # From a loader's process the message comes at the end of a traceback.
        raise UsageError(str(error).strip().splitlines()[-1]) from error
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise UsageError(str(error)) from error
    print(describe_probes(rows, fit))
    if args.out is not None:
        report = {"checkpoint": args.checkpoint, "data": args.data, "method": args.method}
        report["results"] = [row.as_dict() for row in rows]
        write_text_atomically(args.out, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
