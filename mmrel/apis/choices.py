"""What was chosen and why, as a table that a user reads before anything starts."""

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

WIDEST = 118
MOST_VALUE = 38
"""Columns for values; the reason of a longer one begins in the next line."""


@dataclass(frozen=True)
class Choice:
    """One row of the table.

    Attributes:
        name: of what was chosen.
        value: what was chosen, as it is printed.
        reason: why.
    """

    name: str
    value: str
    reason: str


def choice_table(choices: Sequence[Choice], warnings: Sequence[str] = ()) -> str:
    """Names, values and wrapped reasons in columns, then the warnings; as wide as the terminal, at most 118.

    Paths stay in one piece.
    """
    width = min(WIDEST, max(shutil.get_terminal_size((WIDEST, 24)).columns, 60))
    names = max(len(choice.name) for choice in choices) + 2
    values = min(max(len(choice.value) for choice in choices) + 2, MOST_VALUE)
    lines = [line for choice in choices for line in _row(choice, names, values, width)]
    for warning in warnings:
        lines += ["", *textwrap.wrap(f"WARNING  {warning}", width, subsequent_indent=" " * 9)]
    return "\n".join(lines)


def _row(choice: Choice, names: int, values: int, width: int) -> list[str]:
    start = f"{choice.name:<{names}}{choice.value:<{values}}"
    reason = textwrap.wrap(
        choice.reason, width - names - values, break_long_words=False, break_on_hyphens=False
    )
    first = start if len(choice.value) >= values else start + (reason.pop(0) if reason else "")
    return [first.rstrip(), *(" " * (names + values) + line for line in reason)]
