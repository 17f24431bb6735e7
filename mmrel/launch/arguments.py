"""Types of command line arguments that several tools share."""

import argparse


def positive(text: str) -> int:
    """A whole number from 1 on; anything else is an error of the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def add_normalization(parser: argparse.ArgumentParser) -> None:
    """Add ``--mean`` and ``--std``, three numbers each."""
    for name in ("mean", "std"):
        parser.add_argument(
            f"--{name}",
            type=float,
            nargs=3,
            metavar=("R", "G", "B"),
            help=f"{name} that the images are normalised with (0-255 scale), where the file does not tell",
        )
