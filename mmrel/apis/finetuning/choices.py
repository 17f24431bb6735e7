"""What was chosen and why, as a table that a user reads before anything starts."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

REASON_WIDTH = 68


@dataclass(frozen=True)
class Choice:
    """One line of the table.

    Attributes:
        name: of what was chosen.
        value: what was chosen, as it is printed.
        reason: why.
    """

    name: str
    value: str
    reason: str


def choice_table(choices: Sequence[Choice]) -> str:
    """The table: names and values in columns, reasons wrapped."""
    names = max(len(choice.name) for choice in choices)
    values = max(len(choice.value) for choice in choices)
    lines = []
    for choice in choices:
        first, *more = _wrapped(choice.reason)
        lines.append(f"{choice.name:<{names}}  {choice.value:<{values}}  {first}".rstrip())
        lines += [" " * (names + values + 4) + line for line in more]
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    """Lines; a path stays in one piece."""
    lines = textwrap.wrap(text, REASON_WIDTH, break_long_words=False, break_on_hyphens=False)
    return lines or [""]
