"""Writes the features of a folder of images as ``.npz``.

Example::

    python tools/extract_features.py backbone.pth data/imagenet/val features.npz
    python tools/extract_features.py backbone.pth data/imagenet/val features.npz --out-indices -4 -3 -2 -1

The first argument is what ``mmrel.apis.get_backbone`` takes: a checkpoint of mmrel or of another project, or a
pretraining's config for random weights. The file holds ``features`` float32 (N, C), ``labels`` int64 (N,) by the
folders of the first level (-1 for images that lie directly in the folder), ``classes`` and ``paths``; all images below
the folder count. Instead of a folder it may be whatever ``data_root`` is, such as ``photos.txt`` or ``val.zip``.
``numpy.load`` reads the file without unpickling. The preprocessing is that of the k-NN protocol.

A file that cannot be read is left out and listed in ``OUT.unreadable.jsonl``. More than one, or 0.1 % of the files,
stop the tool, which then writes no features; ``--max-bad-fraction`` tolerates more.
"""

import argparse
import sys
import tempfile
import zipfile
from pathlib import Path

from mmrel.launch.arguments import add_readout, add_weights, positive, readout_of, weights_of
from mmrel.utils import UsageError


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Write the features of a folder of images as .npz: features, labels, classes, paths."
    )
    parser.add_argument("backbone", help="a checkpoint, or a pretraining's config (random weights)")
    parser.add_argument(
        "images", help="folder, whose first level gives the labels; or a list, an archive, a table"
    )
    parser.add_argument("out", type=Path, help="file to write")
    add_weights(parser)
    add_readout(parser)
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument(
        "--workers", type=int, help="processes that read images (default: one per core, at most 4)"
    )
    parser.add_argument(
        "--max-bad-fraction", type=float, default=0.001, help="unreadable files tolerated"
    )
    parser.add_argument(
        "--classes-from",
        type=Path,
        metavar="NPZ",
        help="number the classes as in a file that this tool wrote, so that labels compare",
    )
    parser.add_argument(
        "--bit-depth",
        choices=("auto", "8", "10", "12", "14", "16"),
        default="auto",
        help="significant bits of 16-bit images (default: found from a sample of them)",
    )
    return parser.parse_args(arguments)


def run(args: argparse.Namespace) -> str:
    """Extract, write, and return a summary."""
    from mmrel.apis.backbone import get_backbone
    from mmrel.apis.folder import extract_folder
    from mmrel.launch.devices import usable_device
    from mmrel.launch.progress import progress_bar
    from mmrel.launch.safe_loading import load_safely

    load_safely()
    unreadable = args.out.with_name(args.out.name + ".unreadable.jsonl")
    prepare_output(args.out, unreadable)
    known_classes = None if args.classes_from is None else read_classes(args.classes_from)
    backbone = get_backbone(args.backbone, **weights_of(args))
    backbone = backbone.to(usable_device(args.device))
    found = extract_folder(
        backbone,
        args.images,
        unreadable,
        **readout_of(args),
        batch_size=args.batch_size,
        workers=args.workers,
        max_bad_fraction=args.max_bad_fraction,
        progress=progress_bar(),
        classes=known_classes,
        bit_depth="auto" if args.bit_depth == "auto" else int(args.bit_depth),
    )
    found.save(args.out)
    rows, width = found.features.shape
    lines = [f"{args.out}: {rows} x {width} features, {len(found.classes)} classes"]
    if found.unreadable:
        lines.append(f"{len(found.unreadable)} unreadable file(s) left out, see {unreadable}")
    return "\n".join(lines)


def prepare_output(out: Path, unreadable: Path) -> None:
    """Prove that the file can be written, before anything costly starts."""
    if out.is_dir():
        raise UsageError(f"{out} is a folder; give the name of the file to write")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out.parent):
        unreadable.unlink(missing_ok=True)


def read_classes(path: Path) -> list[str]:
    """The classes in a file that this tool wrote."""
    import numpy as np

    try:
        with np.load(path) as file:
            return [str(name) for name in file["classes"]]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{path} holds no classes ({error}); give a file that this tool wrote"
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit code."""
    from mmrel.datasets.bad_samples import TooManyBadSamplesError

    args = parse_args(arguments)
    try:
        print(run(args))
    except TooManyBadSamplesError as error:
        # From a loader's process the message comes at the end of a traceback.
        print(f"\nextract_features: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
        return 1
    except (OSError, ValueError, UsageError) as error:
        print(f"extract_features: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
