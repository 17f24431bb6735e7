"""Mistakes in what the user gave, told in one paragraph instead of a traceback."""

import functools
import os
import sys
from collections.abc import Callable


class UsageError(Exception):
    """A wrong argument, file or environment; the text says what was given and what to do.

    Attributes:
        of_one_process: one process of several may meet it alone, and so must tell it, whichever it is.
    """

    of_one_process = False


def reports_usage_errors(main: Callable[[], None]) -> Callable[[], None]:
    """Make a tool's ``main`` print a :class:`UsageError` and exit with status 2.

    In a distributed run only the first process prints what all of them meet.
    """

    @functools.wraps(main)
    def wrapped() -> None:
        try:
            main()
        except UsageError as error:
            rank = os.environ.get("RANK", "0")
            if rank == "0" or error.of_one_process:
                where = f" (process {rank})" if rank != "0" else ""
                print(f"error{where}: {error}", file=sys.stderr)
            sys.exit(2)

    return wrapped
