"""Pictures of your own photographs, as any checkpoint sees them.

Examples::

    python tools/visualize.py attention work_dirs/sere/epoch_100.pth cat.jpg --out attention.png
    python tools/visualize.py similarity backbone.pth cat.jpg --at 240,180 0.7,0.4 --random
    python tools/visualize.py relations backbone.pth cat.jpg --at 0.5,0.5
    python tools/visualize.py pca backbone.pth photos/ --theme dark --out pca.pdf
    python tools/visualize.py correspondence backbone.pth cat.jpg other_cat.jpg
    python tools/visualize.py correspondence backbone.pth cat.jpg --crops

A checkpoint is what ``mmrel.apis.get_backbone`` takes: of mmrel, exported, or of DINO, iBOT, DINOv2, timm and others;
nothing stored in it is executed. Figures are PNG, PDF or SVG, by the ending of ``--out``; without it, they are written
to the current folder and named after the photograph. tools/visualize_reconstruction.py draws what SiT restores.
"""

import argparse
from pathlib import Path
from typing import Any

from mmrel.launch.arguments import add_weights, positive, weights_of
from mmrel.utils import UsageError, reports_usage_errors

KINDS = {
    "attention": "where the class token looks: each head, their mean, and what holds most of it",
    "similarity": "how similar chosen patches are to all others, or to those of a second photograph",
    "relations": "SERE's self-relations: of chosen patches to all others, and of all channels",
    "pca": "three principal components as colours over several photographs, and their foreground",
    "correspondence": "matches between two photographs, or between two crops of one, with accuracy",
}


def point(text: str) -> tuple[float, float]:
    """Two whole numbers (pixels) or two decimal ones (shares of the sides)."""
    x, comma, y = text.partition(",")
    if not comma:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no X,Y; give pixels as 240,180 or shares as 0.5,0.4"
        )
    whole = x.strip().isdigit() and y.strip().isdigit()
    return (int(x), int(y)) if whole else (float(x), float(y))


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Pictures of photographs, as a checkpoint sees them"
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    parsers = {
        name: kinds.add_parser(name, help=text, description=text[0].upper() + text[1:])
        for name, text in KINDS.items()
    }
    for own in parsers.values():
        add_common(own)
    add_own(parsers)
    return parser.parse_args()


def add_common(parser: argparse.ArgumentParser) -> None:
    """Arguments of all kinds."""
    parser.add_argument("checkpoint", help="of mmrel or another project, or a config")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="photograph")
    parser.add_argument("--out", type=Path, help="file (.png, .pdf, .svg), or folder")
    parser.add_argument("--size", type=positive, default=480, help="short side in pixels (480)")
    parser.add_argument("--block", type=int, default=-1, help="number of the block (-1: the last)")
    parser.add_argument("--theme", choices=["light", "dark"], default="light")
    parser.add_argument("--random", action="store_true", help="draw random weights beside it")
    parser.add_argument("--seed", type=int, default=0, help="of random weights and crops")
    add_weights(parser)


def add_own(parsers: dict[str, argparse.ArgumentParser]) -> None:
    """Arguments of single kinds."""
    for name in ("attention", "relations"):
        parsers[name].add_argument("--heads", type=int, nargs="+", help="numbers (default: all)")
    for name in ("similarity", "relations"):
        parsers[name].add_argument(
            "--at",
            type=point,
            nargs="+",
            default=[(0.5, 0.5)],
            metavar="X,Y",
            help="places: pixels as 240,180 or shares as 0.5,0.4 (default: the middle)",
        )
    own = parsers["attention"].add_argument
    own("--threshold", type=float, default=0.6, help="share of the attention to keep (0.6)")
    own("--query", choices=["cls", "mean"], default="cls", help="mean: without class token")
    own = parsers["relations"].add_argument
    own("--temperature", type=float, default=1.0, help="of the spatial relation (1)")
    own = parsers["pca"].add_argument
    own("--foreground", choices=["otsu", "sign"], default="otsu", help="threshold")
    own("--count", type=positive, default=12, help="images of a folder to draw (12)")
    own = parsers["correspondence"].add_argument
    own("--crops", action="store_true", help="match two random crops of one photograph")
    own("--count", type=positive, default=12, help="matches to draw (12)")
    own("--by", choices=["attention", "similarity"], default="attention", help="which matches")
    own("--radius", type=int, default=1, help="patches off that still count as right (1)")


def choices(args: argparse.Namespace) -> dict[str, Any]:
    """The command line as fields of ``mmrel.apis.pictures.PictureOptions``."""
    names = (
        "size block theme heads threshold query temperature foreground crops seed radius count by"
    )
    given = vars(args)
    found = {name: given[name] for name in names.split() if name in given}
    return {**found, "points": args.at} if "at" in given else found


@reports_usage_errors
def main() -> None:
    """Load, draw, and print what was written."""
    args = parse_args()
    from mmrel.apis.pictures import PictureOptions, draw_picture, load_networks
    from mmrel.datasets.bad_samples import UnreadableImageError
    from mmrel.launch.devices import usable_device
    from mmrel.launch.safe_loading import load_safely

    load_safely()
    try:
        options = PictureOptions(**choices(args))
        networks = load_networks(args.checkpoint, args.random, args.seed, **weights_of(args))
        device = usable_device(args.device)
        networks = {name: network.to(device) for name, network in networks.items()}
        lines = draw_picture(args.kind, networks, args.images, args.out, options)
    except (OSError, ValueError, UnreadableImageError) as error:
        raise UsageError(str(error)) from error
    print("\n".join(lines))


if __name__ == "__main__":
    main()
