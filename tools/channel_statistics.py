"""Mean and standard deviation of the channels of images, for a configuration's ``mean`` and ``std``.

Examples::

    python tools/channel_statistics.py /my/photos
    python tools/channel_statistics.py /my/scenes --in-channels 5 --value-range 0 10000
    python tools/channel_statistics.py /a /b.zip --in-channels 2 --value-range 0 4095 -30 80 --out statistics.json

Images are read as ``mmrel.DecodeImage`` reads them when training, and all pixels of all of them count alike. The sums
are of whole numbers, so that the result does not depend on their order. What is printed last goes behind a training's
command. Unreadable images are left out; more than 0.1 % of them stop the tool.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrel.launch.arguments import positive
from mmrel.utils import UsageError, reports_usage_errors

if TYPE_CHECKING:
    from mmrel.apis.channel_statistics import ChannelStatistics

DIGITS = 3


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Mean and standard deviation of each channel, over all pixels of all images"
    )
    parser.add_argument(
        "data", nargs="+", help="folders, lists, archives; whatever data_root takes"
    )
    parser.add_argument("--in-channels", type=positive, default=3, help="default: 3, RGB")
    parser.add_argument(
        "--bit-depth",
        default="auto",
        choices=["auto", "8", "10", "12", "14", "16"],
        help="significant bits of 16-bit values",
    )
    parser.add_argument(
        "--value-range",
        nargs="+",
        type=float,
        metavar="LOW HIGH",
        help="what becomes 0 and 255: one pair, or one for each channel",
    )
    parser.add_argument("--max-images", type=positive, help="read at most so many, spread evenly")
    parser.add_argument("--workers", type=int, help="processes (default: one per core, at most 4)")
    parser.add_argument("--max-bad-fraction", type=float, default=0.001)
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    args = parser.parse_args(arguments)
    numbers = args.value_range or []
    if numbers and len(numbers) not in (2, 2 * args.in_channels):
        parser.error(
            f"--value-range has {len(numbers)} numbers; give LOW HIGH, or such a pair for each of the "
            f"{args.in_channels} channels"
        )
    return args


def decode_options(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``mmrel.DecodeImage`` that differ from its defaults."""
    options: dict[str, Any] = {}
    if args.in_channels != 3:
        options["in_channels"] = args.in_channels
    if args.bit_depth != "auto":
        options["bit_depth"] = int(args.bit_depth)
    if numbers := args.value_range:
        pairs = [list(pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
        options["value_range"] = pairs[0] if len(pairs) == 1 else pairs
    return options


def report(found: "ChannelStatistics", decode: dict[str, Any]) -> str:
    """What to print: the numbers, and the options of a training."""
    mean, std = ([round(value, DIGITS) for value in values] for values in (found.mean, found.std))
    options = {"in_channels": len(mean), **decode, "mean": mean, "std": std}
    written = " ".join(
        f"'{key}={json.dumps(value)}'".replace(", ", ",") for key, value in options.items()
    )
    return (
        f"{found.images} images, {found.pixels} pixels\nmean = {mean}\nstd = {std}\n"
        f"--cfg-options {written}"
    )


def run(args: argparse.Namespace) -> str:
    """Read, write, and return what to print.

    Raises:
        UsageError: what was given cannot be read.
    """
    from mmrel.apis.channel_statistics import channel_statistics
    from mmrel.datasets.bad_samples import TooManyBadSamplesError
    from mmrel.launch.progress import progress_bar
    from mmrel.utils.files import write_text_atomically

    decode = decode_options(args)
    root = args.data[0] if len(args.data) == 1 else args.data
    try:
        limits = args.max_images, args.workers, args.max_bad_fraction
        found = channel_statistics(root, decode, *limits, progress_bar())
    except TooManyBadSamplesError as error:
        raise UsageError(str(error).rpartition("TooManyBadSamplesError: ")[2]) from error
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error
    if args.out is not None:
        content = {
            "mean": found.mean,
            "std": found.std,
            "images": found.images,
            "pixels": found.pixels,
        }
        write_text_atomically(args.out, json.dumps({**content, "decode": decode}, indent=2) + "\n")
    return report(found, decode)


@reports_usage_errors
def main() -> None:
    """Read, print and write."""
    args = parse_args()
    if args.out is not None and args.out.is_dir():
        raise UsageError(f"--out {args.out} is a folder; give the name of the file to write")
    print(run(args))


if __name__ == "__main__":
    sys.exit(main())
