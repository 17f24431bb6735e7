"""Renaming tensors between two layouts by templates, in both directions.

A template is a whole name with ``{i}`` for a number and ``{p}`` for ``weight`` or ``bias``. It matches whole names
only, so that ``attn.proj`` is never taken for ``patch_embed.proj``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # the tables are read by tools that answer before torch is imported
    from torch import Tensor

State: TypeAlias = "dict[str, Tensor]"

FIELDS = {"i": r"0|[1-9]\d*", "j": r"0|[1-9]\d*", "p": "weight|bias"}
PARAMETERS = ("weight", "bias")


@dataclass(frozen=True)
class Rule:
    """One tensor, or one per block and parameter, under its two names.

    Attributes:
        theirs: template of the official name.
        ours: template of the name in mmrel, which is mmpretrain's.
        part: what the tensor belongs to; a part is in a file as a whole or not at all.
        flat: the official tensor is ``(1, C)`` where ours is ``(1, 1, C)``.
    """

    theirs: str
    ours: str
    part: str = "body"
    flat: bool = False

    def match(self, key: str, official: bool) -> dict[str, str] | None:
        """The fields of a key that the template of that side gives, or ``None``."""
        found = _pattern(self.theirs if official else self.ours).fullmatch(key)
        return None if found is None else found.groupdict()

    def expand(self, depth: int, official: bool) -> Iterator[str]:
        """All names of that side for a network of ``depth`` blocks."""
        template = self.theirs if official else self.ours
        blocks = range(depth) if "{i}" in template else (0,)
        parameters = PARAMETERS if "{p}" in template else ("",)
        for i in blocks:
            for p in parameters:
                yield template.format(i=i, p=p)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    escaped = re.escape(template)
    for field, values in FIELDS.items():
        escaped = escaped.replace(re.escape("{" + field + "}"), f"(?P<{field}>{values})")
    return re.compile(escaped)


def find_rule(
    rules: Iterable[Rule], key: str, official: bool
) -> tuple[Rule, dict[str, str]] | None:
    """The rule that knows a key of one side, and the key's fields."""
    for rule in rules:
        fields = rule.match(key, official)
        if fields is not None:
            return rule, fields
    return None


def rename(rules: Iterable[Rule], state: State, to_ours: bool) -> tuple[State, State]:
    """Rename every tensor that a rule knows.

    Args:
        rules: the layout's.
        state: tensors under the names of one side.
        to_ours: from the official names to mmrel's, or back.

    Returns:
        The renamed tensors, and those that no rule knows under their old names.
    """
    rules, renamed, unknown = tuple(rules), {}, {}
    for key, value in state.items():
        found = find_rule(rules, key, official=to_ours)
        if found is None:
            unknown[key] = value
            continue
        rule, fields = found
        name = (rule.ours if to_ours else rule.theirs).format(**fields)
        renamed[name] = _reshape(value, to_ours) if rule.flat else value
    return renamed, unknown


def _reshape(value: Tensor, to_ours: bool) -> Tensor:
    return value.reshape(1, 1, -1) if to_ours else value.reshape(1, -1)
