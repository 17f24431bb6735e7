"""Segments images with frozen patch tokens: no training loop, minutes on a CPU.

Examples::

    python tools/segment_frozen.py knn backbone.pth data/scenes/segmentation --random --pictures knn.png
    python tools/segment_frozen.py linear sere.pth dino.pth data/VOCdevkit/VOC2012 --size 448 --out linear.json

``knn``: each patch of a validation image takes the classes of the most similar patches of training images; nothing is
trained. ``linear``: batch norm and one linear layer are trained on the tokens, at several learning rates, of which the
best on the validation images counts.

The last argument is a folder in ADE20K's layout (also the bundled scenes'), in PASCAL VOC's, or with ``train/images``,
``train/masks``, ``val/images`` and ``val/masks``: for each image a PNG with one class number per pixel. Checkpoints are
what ``mmrel.apis.get_backbone`` takes; nothing stored in one is executed.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from mmrel.launch.arguments import add_blocks, add_weights, positive, weights_of
from mmrel.utils import UsageError, reports_usage_errors
from mmrel.utils.files import write_text_atomically


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Judge frozen patch tokens by segmentation: mean IoU without a training loop."
    )
    methods = parser.add_subparsers(dest="method", required=True)
    knn = methods.add_parser("knn", help="k-NN over patch tokens, nothing is trained")
    knn.add_argument("--k", type=positive, default=20, help="neighbours (default: 20)")
    knn.add_argument("--temperature", type=float, default=0.07, help="of the votes (default: 0.07)")
    knn.add_argument(
        "--max-patches", type=positive, default=100_000, help="of the bank (default: 100000)"
    )
    linear = methods.add_parser("linear", help="a linear layer on patch tokens")
    linear.add_argument(
        "--learning-rates", type=float, nargs="+", help="of AdamW (default: 0.0003 to 0.1)"
    )
    linear.add_argument("--epochs", type=positive, help="passes over the tokens (default: 20)")
    linear.add_argument("--batch-size", type=positive, help="patches per step (default: 256)")
    for method in (knn, linear):
        _add_common(method)
    return parser.parse_args()


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of labelled images")
    parser.add_argument("--random", action="store_true", help="also random weights, per network")
    parser.add_argument(
        "--size", type=positive, help="short side of the images in pixels (default: their own)"
    )
    add_blocks(parser)
    parser.add_argument("--per-image", type=positive, help="patches of each training image at most")
    parser.add_argument("--max-train", type=positive, help="training images, spread evenly")
    parser.add_argument("--max-val", type=positive, help="validation images, spread evenly")
    parser.add_argument("--classes", type=Path, metavar="FILE", help="names, one per line")
    parser.add_argument(
        "--ignore-index", type=int, help="of plain folders: number of pixels without class (255)"
    )
    parser.add_argument(
        "--reduce-zero-label",
        action="store_true",
        help="of plain folders: 0 is no class, 1 is the first",
    )
    parser.add_argument("--seed", type=int, default=0, help="of random weights and drawn patches")
    parser.add_argument("--out", type=Path, metavar="JSON", help="file for the figures")
    parser.add_argument("--pictures", type=Path, metavar="PNG", help="file for some predictions")
    parser.add_argument(
        "--num-pictures", type=positive, default=4, help="images in it (default: 4)"
    )
    add_weights(parser)


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says about the method, as the library takes it."""
    from mmrel.evaluation.linear_segmentation import Schedule

    common = dict(size=args.size, out_indices=args.out_indices, per_image=args.per_image)
    common["out_norm"] = False if args.no_norm else None
    if args.method == "knn":
        own = {name: getattr(args, name) for name in ("k", "temperature", "max_patches", "seed")}
        return {**common, **own}
    names = ("learning_rates", "epochs", "batch_size")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return {**common, "schedule": Schedule(**given, seed=args.seed)}


def run(args: argparse.Namespace) -> str:
    """Segment, write, and return the table."""
    from mmrel.apis.segmentation import compare_segmentation, named_backbones, open_segmentation
    from mmrel.launch.devices import usable_device
    from mmrel.launch.progress import progress_bar

    names = None if args.classes is None else args.classes.read_text(encoding="utf-8").split("\n")
    classes = None if names is None else [name.strip() for name in names if name.strip()]
    train, val = open_segmentation(args.data, classes, args.ignore_index, args.reduce_zero_label)
    train = train if args.max_train is None else train.subset(args.max_train)
    val = val if args.max_val is None else val.subset(args.max_val)
    device = usable_device(args.device)
    backbones = named_backbones(
        args.checkpoints, args.random, args.seed, device, **weights_of(args)
    )
    found = compare_segmentation(
        backbones,
        train,
        val,
        args.method,
        0 if args.pictures is None else args.num_pictures,
        progress_bar(),
        **settings_of(args),
    )
    if args.out is not None:
        report = {**found.as_dict(), "arguments": vars(args)}
        write_text_atomically(args.out, json.dumps(report, indent=2, default=str) + "\n")
    if args.pictures is not None:
        found.draw(args.pictures)
    return found.table()


def prepare_output(out: Path | None) -> None:
    """Prove that the file can be written, before anything costly starts."""
    if out is None:
        return
    if out.is_dir():
        raise UsageError(f"{out} is a folder; give the name of the file to write")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out.parent):
        pass


@reports_usage_errors
def main() -> None:
    """Segment and print."""
    args = parse_args()
    from mmrel.datasets.bad_samples import UnreadableImageError
    from mmrel.launch.safe_loading import load_safely

    load_safely()
    try:
        prepare_output(args.out)
        prepare_output(args.pictures)
        print(run(args))
    except (OSError, ValueError, UnreadableImageError) as error:
        raise UsageError(str(error)) from error


if __name__ == "__main__":
    main()
