"""Turn the original files of a small data set into class folders, which the recipes read.

    python tools/convert_dataset.py cifar10 downloads/cifar-10-binary.tar.gz data/cifar10
    python tools/convert_dataset.py svhn downloads/svhn data/svhn
    python tools/convert_dataset.py imagenet100 data/imagenet data/imagenet100 --classes imagenet100.txt

Nothing is downloaded, and nothing that is stored in the files is run. The result is
``OUT/<split>/<class>/<image>``; for imagenet100 the class folders are links.
"""

import argparse
from pathlib import Path

from mmrel.datasets.converters import CONVERTERS, SUBSET, convert_dataset


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Turn a data set into class folders.")
    parser.add_argument("name", choices=sorted([*CONVERTERS, SUBSET]))
    parser.add_argument(
        "source", type=Path, help="the original archive, or the folder with its files"
    )
    parser.add_argument("out", type=Path, help="folder to write; it must not exist")
    parser.add_argument(
        "--classes", type=Path, help="for imagenet100: a text file, one class folder per line"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Convert and print what was written; errors about the files end with a message."""
    args = parse_args(arguments)
    try:
        counts = convert_dataset(args.name, args.source, args.out, args.classes)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise SystemExit(f"convert_dataset: error: {error}") from error
    print(f"{args.out}: " + ", ".join(f"{split} {count}" for split, count in counts.items()))


if __name__ == "__main__":
    main()
