"""Pieces of messages."""

from collections.abc import Sequence


def listed(names: Sequence[str], limit: int = 8) -> str:
    """The first names, with commas, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def counted(number: int, name: str) -> str:
    """``1 step``, ``12,000 steps``."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """As :func:`format_seconds`, or ``12 days`` from two days on."""
    days = seconds / 86_400
    return f"{days:,.0f} days" if days >= 2 else format_seconds(seconds)


def format_seconds(seconds: float) -> str:
    """``m:ss``, or ``h:mm:ss`` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
