"""Judges checkpoints by several protocols and writes one page that compares them.

Example::

    python tools/make_scenes.py data/scenes
    python tools/evaluate.py work_dirs/sere/epoch_10.pth dino_deitsmall16_pretrain.pth --data data/scenes

A checkpoint is what ``mmrel.apis.get_backbone`` reads: of mmrel, exported, or as DINO, DINOv2, iBOT, timm and others
save theirs; nothing stored in it is executed. ``OUT/report.html`` is one file with tables and pictures,
``OUT/results.json`` has all figures. The suite ``quick`` takes minutes, on samples of the data; ``full`` takes all.

The data is a folder with ``classification/{train,val}/<class>``, ``segmentation/`` in ADE20K's layout and ``davis/`` in
DAVIS-2017's, as ``tools/make_scenes.py`` writes them, or parts given one by one. A protocol without data is left out.

What is done is not repeated: the same command continues after a kill, and evaluates a changed checkpoint anew. A
protocol that fails does not stop the others; the page names it, and the exit code is 1.
"""

import argparse
import sys
from pathlib import Path

from mmrel.launch.arguments import add_weights, positive, weights_of
from mmrel.utils import UsageError, reports_usage_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Judge checkpoints by several protocols; one page compares them."
    )
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="of any project")
    parser.add_argument("--suite", default="quick", help="quick or full (default: quick)")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/evaluation"), help="folder")
    parser.add_argument("--protocols", nargs="+", metavar="NAME", help="some of the suite's")
    parser.add_argument("--labels", nargs="+", metavar="LABEL", help="names of the checkpoints")
    add_weights(parser)
    data = parser.add_argument_group("data")
    data.add_argument("--data", type=Path, metavar="ROOT", help="folder with all parts")
    data.add_argument("--classification", type=Path, metavar="DIR", help="train/ and val/")
    data.add_argument("--segmentation", type=Path, metavar="DIR", help="ADE20K's layout")
    data.add_argument("--davis", type=Path, metavar="DIR", help="DAVIS-2017's layout")
    data.add_argument("--images", nargs="+", type=Path, default=[], help="what to draw pictures of")
    parser.add_argument("--image-size", type=positive, help="side of the inputs of classification")
    parser.add_argument("--no-random", action="store_true", help="without random weights beside")
    parser.add_argument("--no-thumbnails", action="store_true", help="without thumbnails beside")
    parser.add_argument("--workers", type=int, default=0, help="processes that read images")
    return parser.parse_args()


def run(args: argparse.Namespace) -> int:
    """Evaluate, and say where the page is; returns the exit code."""
    from mmrel.launch.safe_loading import load_safely

    load_safely()
    from mmrel.apis.evaluation import evaluate, find_data
    from mmrel.apis.evaluation.terminal import Terminal

    found = evaluate(
        args.checkpoints,
        find_data(args.data, args.classification, args.segmentation, args.davis, args.images),
        args.suite,
        args.out,
        random=not args.no_random,
        thumbnails=not args.no_thumbnails,
        protocols=args.protocols,
        labels=args.labels,
        image_size=args.image_size,
        device=args.device,
        workers=args.workers,
        progress=Terminal(),
        **weights_of(args),
    )
    for name, reason in found.results.skipped.items():
        print(f"{name} is left out: {reason}")
    print(f"report: {found.report}\nfigures: {found.json}")
    if found.failures:
        print(f"{len(found.failures)} evaluation(s) failed; the page names them", file=sys.stderr)
    return 1 if found.failures else 0


@reports_usage_errors
def main() -> None:
    """Evaluate; exit code 1 if something failed, 2 for a wrong argument, 130 if interrupted."""
    args = parse_args()
    if args.data is None and not any(
        (args.classification, args.segmentation, args.davis, args.images)
    ):
        raise UsageError(
            "no data; give --data ROOT, or parts with --classification, --segmentation, --davis or --images"
        )
    try:
        code = run(args)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command continues from here", file=sys.stderr)
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
