"""Types and actions of command line arguments that several tools share."""

import argparse
from collections.abc import Sequence
from typing import Any

from mmengine.config import DictAction

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
