"""A tool that calls another one in its own process."""

import inspect
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def call_tool(tool: Path, arguments: Sequence[str], name: str | None = None) -> Any:
    """Call a tool's ``main`` as its command line would; its errors are the caller's to report.

    Args:
        tool: its file.
        arguments: of its command line.
        name: what it calls itself in its usage; ``None``: the name of its file.

    Raises:
        UsageError: what it would report itself.
    """
    # Not run as __main__: run_path would put the tool's path in place of its name while it runs.
    main = inspect.unwrap(runpy.run_path(str(tool))["main"])
    before, sys.argv = sys.argv, [name or tool.name, *arguments]
    try:
        return main()
    finally:
        sys.argv = before
