"""Mistakes in what the user gave, told in one paragraph instead of a traceback."""

import functools
import os
import sys
from collections.abc import Callable


class UsageError(Exception):
    """A wrong argument, file or environment; the text says what was given and what to do."""


def reports_usage_errors(main: Callable[[], None]) -> Callable[[], None]:
    """Make a tool's ``main`` print a :class:`UsageError` and exit with status 2.

    In a distributed run only the first process prints.
    """

    @functools.wraps(main)
    def wrapped() -> None:
        try:
            main()
        except UsageError as error:
            if os.environ.get("RANK", "0") == "0":
                print(f"error: {error}", file=sys.stderr)
            sys.exit(2)

    return wrapped
