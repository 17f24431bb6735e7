"""Types of command line arguments that several tools share."""

import argparse


def positive(text: str) -> int:
    """A whole number from 1 on; anything else is an error of the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value
