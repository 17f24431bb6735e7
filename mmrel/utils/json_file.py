"""JSON that others wrote: bounded in size and depth before anything walks through it."""

import json
from pathlib import Path
from typing import Any

from mmrel.utils.plain_tree import check_depth

MAX_BYTES = 64 * 2**20
"""Of a file; the longest that are known, indices of sharded weights, have a few."""


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        OSError: there is no such file, or it must not be read.
        ValueError: it is longer than ``MAX_BYTES``, no JSON object, or nested too deeply.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(
            f"'{path}' has over {MAX_BYTES} bytes, which is no configuration. Fetch it again."
        )
    return parse_json(content, f"'{path}'")


def parse_json(content: str | bytes, name: str) -> dict[str, Any]:
    """The JSON object in a text; ``name`` is what errors call it.

    Raises:
        ValueError: it is no JSON object, or nested too deeply.
    """
    try:
        value = json.loads(content)
        check_depth(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{name} cannot be read as JSON ({error}). It is damaged; fetch it again."
        ) from error
    if not isinstance(value, dict):
        raise ValueError(
            f"{name} holds a {type(value).__name__}, not a JSON object. Fetch it again."
        )
    return value
