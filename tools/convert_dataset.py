"""Turn the original files of a small data set into class folders, which the recipes read; list a part of a data set.

    python tools/convert_dataset.py cifar10 downloads/cifar-10-binary.tar.gz data/cifar10
    python tools/convert_dataset.py svhn downloads/svhn data/svhn
    python tools/convert_dataset.py elpv installed data/elpv
    python tools/convert_dataset.py imagenet100 data/imagenet data/imagenet100 --classes imagenet100.txt
    python tools/convert_dataset.py split data/imagenet/train data/imagenet/splits/1percent.txt --images 1percent.txt
    python tools/convert_dataset.py split data/pets/train data/pets/splits/5shots.txt --shots 5 --seed 1

Nothing is downloaded, and nothing that is stored in the files is run. The result is
``OUT/<split>/<class>/<image>``; for imagenet100 the class folders are links. elpv (four classes) and elpv-defects (two)
are published without splits: a quarter of the images is drawn for val. For split, OUT is a text file with one image of
the folder a line, ``n01440764/n01440764_10026.JPEG 0``, which mmpretrain's data sets and mmrel.ImageFolder read as
``ann_file``: those of SimCLR's lists of 1 % and 10 % of ImageNet (``--images``), or drawn.
"""

import argparse
from pathlib import Path

from mmrel.datasets.converters import NAMES, convert_dataset
from mmrel.launch.arguments import positive

SPLIT = "split"


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Turn a data set into class folders.")
    parser.add_argument("name", choices=sorted([*NAMES, SPLIT]))
    parser.add_argument(
        "source",
        type=Path,
        help="the original archive, or the folder with its files; for elpv also the word installed: the package of "
        "the extra evidence",
    )
    parser.add_argument(
        "out", type=Path, help="folder or, for split, file to write; it must not exist"
    )
    parser.add_argument(
        "--classes", type=Path, help="for imagenet100: a text file, one class folder per line"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of what is drawn for split and elpv (default: 0)"
    )
    split = parser.add_argument_group("split", "which images; give one of the first three")
    split.add_argument(
        "--images", type=Path, metavar="LIST", help="a text file, one image per line"
    )
    split.add_argument("--shots", type=positive, help="images per class, drawn at random")
    split.add_argument("--fraction", type=float, help="share of each class, drawn at random")
    args = parser.parse_args(arguments)
    if args.seed < 0:
        parser.error(f"--seed is {args.seed}; give a whole number from 0 on")
    given = [args.images, args.shots, args.fraction]
    wanted = 1 if args.name == SPLIT else 0
    if sum(value is not None for value in given) != wanted:
        parser.error("split needs one of --images, --shots and --fraction, other data sets none")
    return args


def convert(args: argparse.Namespace) -> dict[str, int]:
    """Write what is asked for; returns how many there are of what."""
    if args.name == SPLIT:
        from mmrel.datasets.splits import write_split

        chosen = (args.images, args.shots, args.fraction, args.seed)
        return write_split(args.source, args.out, *chosen)
    return convert_dataset(args.name, args.source, args.out, args.classes, args.seed)


def main(arguments: list[str] | None = None) -> None:
    """Convert and print what was written; errors about the files end with a message."""
    args = parse_args(arguments)
    try:
        counts = convert(args)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise SystemExit(f"convert_dataset: error: {error}") from error
    print(f"{args.out}: " + ", ".join(f"{split} {count}" for split, count in counts.items()))


if __name__ == "__main__":
    main()
