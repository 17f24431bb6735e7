"""Types and actions of command line arguments that several tools share."""

import argparse
import math
from collections.abc import Sequence
from typing import Any

from mmengine.config import DictAction

from mmrel.utils.errors import UsageError
from mmrel.utils.plain_tree import check_plain

MAX_OPTION = 10_000
"""Characters of one option; MMEngine's parser takes a time that grows with their square."""


class ConfigOptions(DictAction):
    """MMEngine's ``key=value`` pairs, with an error of the command line for what it cannot parse."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: Any = None,
    ) -> None:
        """Parse and add them."""
        for value in values or ():
            key, equals, text = value.partition("=")
            if not key or not equals or "\0" in value or len(text) > MAX_OPTION:
                raise argparse.ArgumentError(
                    self,
                    f"{value[:100]!r} is no key=value of at most {MAX_OPTION} characters, such as "
                    "train_dataloader.batch_size=32",
                )
            try:
                super().__call__(parser, namespace, [value], option_string)
                check_plain(getattr(namespace, self.dest)[key])
            except (AssertionError, ValueError, RecursionError) as error:
                raise argparse.ArgumentError(
                    self,
                    f"the value of {key} cannot be parsed ({type(error).__name__}); give a number, a text, or a "
                    f"list such as '[1,2]', with as many closing brackets as opening ones, not {text[:100]!r}",
                ) from error


def positive(text: str) -> int:
    """A whole number from 1 on; anything else is an error of the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def above_zero(text: str) -> float:
    """A finite number above 0; anything else is an error of the command line."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def add_normalization(parser: argparse._ActionsContainer) -> None:
    """Add ``--mean`` and ``--std``, three numbers each."""
    for name in ("mean", "std"):
        parser.add_argument(
            f"--{name}",
            type=float,
            nargs=3,
            metavar=("R", "G", "B"),
            help=f"{name} that the images are normalised with (0-255 scale), where the file does not tell",
        )


def add_weights(parser: argparse._ActionsContainer) -> None:
    """Add what a checkpoint does not tell, which of its networks counts, and the device."""
    add_checkpoint(parser)
    parser.add_argument("--device", help="for instance cpu or cuda:1 (default: a GPU if any)")


def add_checkpoint(parser: argparse._ActionsContainer) -> None:
    """Add what a checkpoint does not tell, and which of its networks counts."""
    parser.add_argument(
        "--network",
        choices=["teacher", "student"],
        default="teacher",
        help="of a checkpoint that holds both (default: teacher)",
    )
    parser.add_argument(
        "--num-heads", type=positive, help="attention heads, where the file does not tell"
    )
    add_normalization(parser)


def weights_of(args: argparse.Namespace) -> dict[str, Any]:
    """What :func:`add_checkpoint` added, as ``get_backbone`` takes it."""
    return {name: getattr(args, name) for name in ("network", "num_heads", "mean", "std")}


def add_readout(parser: argparse.ArgumentParser) -> None:
    """Add what of a backbone stands for an image, and how large the images are."""
    parser.add_argument(
        "--feature",
        choices=["cls", "avg", "cls+avg"],
        help="which tokens (default: cls, or avg for a backbone without class token)",
    )
    add_blocks(parser)
    add_image_size(parser, "side of the central crop, or its height and width")
    parser.add_argument(
        "--resize", type=positive, help="short side before the crop (default: 8/7 of the crop's)"
    )


def add_image_size(parser: argparse.ArgumentParser, what: str) -> None:
    """Add how large the images are that a network gets."""
    parser.add_argument(
        "--image-size",
        type=positive,
        nargs="+",
        default=[224],
        metavar="PIXELS",
        help=f"{what}; multiples of the patch size (default: 224)",
    )


def image_size_of(args: argparse.Namespace) -> int | tuple[int, int]:
    """What :func:`add_image_size` added: a side, or (height, width).

    Raises:
        UsageError: more than two numbers.
    """
    if len(args.image_size) > 2:
        raise UsageError(f"--image-size is {args.image_size}; give one side, or height and width")
    first, last = args.image_size[0], args.image_size[-1]
    return first if len(args.image_size) == 1 else (first, last)


def add_blocks(parser: argparse.ArgumentParser) -> None:
    """Add which blocks' tokens are read, and whether after the final norm."""
    parser.add_argument(
        "--out-indices",
        type=int,
        nargs="+",
        metavar="BLOCK",
        help="blocks whose features are joined, from 0 on or from the end, such as -4 -3 -2 -1 (default: -1)",
    )
    parser.add_argument("--no-norm", action="store_true", help="tokens before the final norm")


def readout_of(args: argparse.Namespace) -> dict[str, Any]:
    """What :func:`add_readout` added, as the library's functions take it.

    Raises:
        UsageError: as :func:`image_size_of`.
    """
    return dict(
        feature=args.feature,
        out_indices=args.out_indices,
        out_norm=False if args.no_norm else None,
        resize=args.resize,
        crop=image_size_of(args),
    )
