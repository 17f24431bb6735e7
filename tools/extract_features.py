"""Writes the features of a folder of images as ``.npz``.

Example::

    python tools/extract_features.py backbone.pth data/imagenet/val features.npz

The first argument is what ``mmrel.apis.get_backbone`` takes: a checkpoint of mmrel or of another project, or a
pretraining's config for random weights. The file holds ``features`` float32 (N, C), ``labels`` int64 (N,) by the
folders of the first level (-1 for images that lie directly in the folder), ``classes`` and ``paths``; all images below
the folder count. ``numpy.load`` reads it without unpickling. The preprocessing is that of the k-NN protocol.

A file that cannot be read is left out and listed in ``OUT.unreadable.jsonl``. More than one, or 0.1 % of the files,
stop the tool, which then writes no features; ``--max-bad-fraction`` tolerates more.
"""

import argparse
import sys
import tempfile
import zipfile
from pathlib import Path

from mmrel.launch.arguments import add_normalization, positive
from mmrel.utils import UsageError


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Write the features of a folder of images as .npz: features, labels, classes, paths."
    )
    parser.add_argument("backbone", help="a checkpoint, or a pretraining's config (random weights)")
    parser.add_argument("images", type=Path, help="folder; its first level gives the labels")
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("--network", choices=["teacher", "student"], default="teacher")
    parser.add_argument(
        "--feature",
        choices=["cls", "avg", "cls+avg"],
        help="which tokens (default: cls, or avg for a backbone without class token)",
    )
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument("--workers", type=int, default=4, help="processes that read images")
    parser.add_argument(
        "--image-size", type=positive, default=224, help="side of the central crop in pixels"
    )
    parser.add_argument(
        "--resize", type=positive, help="short side before the crop (default: 8/7 of the crop)"
    )
    parser.add_argument("--device", help="for instance cpu or cuda:1 (default: a GPU if any)")
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
    add_normalization(parser)
    return parser.parse_args(arguments)


def run(args: argparse.Namespace) -> str:
    """Extract, write, and return a summary."""
    from mmengine import ProgressBar

    from mmrel.apis.backbone import get_backbone
    from mmrel.apis.folder import extract_folder
    from mmrel.launch.safe_loading import load_safely

    load_safely()
    unreadable = args.out.with_name(args.out.name + ".unreadable.jsonl")
    prepare_output(args.out, unreadable)
    known_classes = None if args.classes_from is None else read_classes(args.classes_from)
    backbone = get_backbone(args.backbone, args.network, mean=args.mean, std=args.std)
    backbone = backbone.to(usable_device(args.device))
    bar: list[ProgressBar] = []

    def progress(done: int, count: int) -> None:
        if bar:
            bar[0].update(done - bar[0].completed)
        else:
            bar.append(ProgressBar(count, file=sys.stderr))

    found = extract_folder(
        backbone,
        args.images,
        unreadable,
        feature=args.feature,
        batch_size=args.batch_size,
        workers=args.workers,
        resize=args.resize or round(args.image_size * 256 / 224),
        crop=args.image_size,
        max_bad_fraction=args.max_bad_fraction,
        progress=progress,
        classes=known_classes,
        bit_depth="auto" if args.bit_depth == "auto" else int(args.bit_depth),
    )
    found.save(args.out)
    rows, width = found.features.shape
    lines = [f"\n{args.out}: {rows} x {width} features, {len(found.classes)} classes"]
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


def usable_device(name: str | None) -> str:
    """The device to compute on; ``None``: a GPU if there is one."""
    import torch
    from mmengine.device import get_device

    if name is None:
        return get_device()
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"--device {name} cannot be used: {reason}. Give cpu or cuda:0") from error
    return name


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
