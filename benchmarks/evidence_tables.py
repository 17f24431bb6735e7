"""Markdown tables of the evidence: means with deviations, and paired differences with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from evidence_arms import ARMS, BASELINES, RANDOM, Pair
from evidence_judges import Judge
from evidence_statistics import Difference, compare, summarise, values_of

Values = dict[tuple[str, int], float]
"""A figure, by the name of a pair's first arm and the seed."""
Runs = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""By arm and seed, as the statistics read them."""


def two_tables(
    rows: Sequence[tuple[str, str, str]],
    pairs: Sequence[Pair],
    runs: Runs,
    judges: Sequence[Judge],
    together: Mapping[str, Sequence[Pair]] | None = None,
) -> list[str]:
    """Of figures, a row per ``(title, arm, feature)``, and of the pairs' differences, where there are pairs.

    ``together`` adds rows in which the differences of several pairs are one sample.
    """
    heads = (*(judge.title for judge in judges), "seeds")
    figures = [
        (name, figures_row(runs.get(arm, {}), feature, judges)) for name, arm, feature in rows
    ]
    lines = table("arm", figures, heads)
    if pairs:
        groups = {f"{title(own)} against {title(other)}": ((own, other),) for own, other in pairs}
        differences = [
            (name, differences_row(runs, group, judges))
            for name, group in {**groups, **(together or {})}.items()
        ]
        lines += ["", "Differences:", "", *table("pair", differences, heads)]
    return lines


def frozen_rows(arms: Sequence[str]) -> list[tuple[str, str, str]]:
    """``(title, arm, feature)``; random weights by both features."""
    rows = [(title(name), name, feature_of(name)) for name in arms]
    if RANDOM in arms:
        mean = f"{title(RANDOM)}, mean patch"
        rows.insert(list(arms).index(RANDOM) + 1, (mean, RANDOM, "avg"))
    return rows


def feature_of(name: str) -> str:
    """What stands for an image in an arm."""
    return ARMS[name].feature if name in ARMS else "cls"


def figures_row(
    runs: Mapping[int, Mapping[str, Any]], feature: str, judges: Sequence[Judge]
) -> list[str]:
    """Mean and deviation of each judge, and the number of seeds."""
    values = [values_of(runs, judge.figure(feature)) for judge in judges]
    cells = [figure_cell(judge, own) for judge, own in zip(judges, values, strict=True)]
    return [*cells, str(max(map(len, values))) if any(values) else "not run"]


def figure_cell(judge: Judge, values: Mapping[int, float]) -> str:
    """``47.1 ± 0.6``, ``47.1`` of one seed, or a dash."""
    if not values:
        return "-"
    found, digits = summarise(list(values.values())), digits_of(judge)
    mean = f"{found.mean:.{digits}f}"
    return mean if found.count == 1 else f"{mean} ± {found.deviation:.{digits}f}"


def differences_row(runs: Runs, pairs: Sequence[Pair], judges: Sequence[Judge]) -> list[str]:
    """Paired difference of each judge, and the number of seeds, in all pairs together."""
    found = [compare(*sides_of(runs, pairs, judge)) for judge in judges]
    cells = [difference_cell(judge, one) for judge, one in zip(judges, found, strict=True)]
    counts = [one.count for one in found if one is not None]
    return [*cells, str(max(counts)) if counts else "not run"]


def sides_of(runs: Runs, pairs: Sequence[Pair], judge: Judge) -> tuple[Values, Values]:
    """What the arms reached, and what their opponents did."""
    found: tuple[Values, Values] = ({}, {})
    for own, other in pairs:
        # Random weights have both features, and are compared in the one that the arm trains.
        features = feature_of(own), feature_of(own if other == RANDOM else other)
        for side, name, feature in zip(found, (own, other), features, strict=True):
            values = values_of(runs.get(name, {}), judge.figure(feature))
            side.update({(own, seed): value for seed, value in values.items()})
    return found


def difference_cell(judge: Judge, found: Difference | None) -> str:
    """``**+2.1 ± 0.8**`` where the interval leaves out zero, ``+2.1`` of one seed, or a dash."""
    if found is None:
        return "-"
    digits = digits_of(judge)
    if found.count == 1:
        return f"{found.mean:+.{digits}f}"
    text = f"{found.mean:+.{digits}f} ± {found.half:.{digits}f}"
    return f"**{text}**" if found.decided else text


def digits_of(judge: Judge) -> int:
    """After the point."""
    return 2 if judge.name == "cosine" else 1


def title(name: str) -> str:
    """Of an arm or a baseline, in tables."""
    return BASELINES[name] if name in BASELINES else ARMS[name].title


def table(
    corner: str, rows: Sequence[tuple[str, Sequence[str]]], heads: Sequence[str]
) -> list[str]:
    """A Markdown table."""
    lines = [f"| {corner} | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    return lines + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
