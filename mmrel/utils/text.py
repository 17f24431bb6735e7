"""Pieces of messages."""

from collections.abc import Sequence


def listed(names: Sequence[str], limit: int = 8) -> str:
    """The first names, with commas, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
