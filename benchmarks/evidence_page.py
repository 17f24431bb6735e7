"""Tables and plots of the evidence, from the JSON files of the runs: ``docs/evidence-tables.md``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence_arms import ARMS, CLAIMS, RANDOM, THUMBNAILS, Claim
from evidence_judges import FINETUNED, JUDGES, Judge
from evidence_plots import draw_curves, has_curves
from evidence_run import RESULTS, ROOT
from evidence_statistics import Difference, compare, read_results, summarise, values_of

from mmrel.utils import UsageError
from mmrel.utils.files import write_text_atomically

PAGE = ROOT / "docs" / "evidence-tables.md"
IMAGES = ROOT / "docs" / "images" / "evidence"
HEAD = """# Evidence: tables

Written by `python benchmarks/evidence.py page` from the files below `benchmarks/results/evidence`; how the runs were
made, and what follows from them, is said in [Evidence](evidence.md). Figures are in per cent, except the cosine and the
effective rank: mean over seeds, the standard deviation between seeds, and, of differences, the half width of Student's
95 % interval, paired by seed. Differences in bold have an interval without zero.
"""
Runs = Mapping[str, Mapping[int, Mapping[str, Any]]]


def write_page(results: Path | None = None) -> str:
    """Write the page and its plots; returns a line that says where.

    Raises:
        UsageError: there are no results.
    """
    folder = (results or RESULTS) / "scenes"
    runs = read_results(folder)
    if not runs:
        raise UsageError(f"{folder} holds no results; run some arms first")
    for name, claim in CLAIMS.items():
        draw_curves(arms_of(claim), runs, IMAGES / f"{name}.png")
    write_text_atomically(PAGE, page_text(runs))
    return f"written: {PAGE}"


def page_text(runs: Runs) -> str:
    """The whole page."""
    sections = [claim_section(name, claim, runs) for name, claim in CLAIMS.items()]
    return "\n".join([HEAD, *sections, cost_section(runs)])


def arms_of(claim: Claim) -> list[str]:
    """Of its pairs, each once, a base before what stands on it."""
    return list(dict.fromkeys(name for pair in claim.pairs for name in reversed(pair)))


def claim_section(name: str, claim: Claim, runs: Runs) -> str:
    """Figures of the claim's arms, differences of its pairs, and its curves."""
    lines = [f"## {claim.title}", "", claim.question, "", *judged(claim, runs, JUDGES)]
    if any(values_of(own, judge.name) for own in runs.values() for judge in FINETUNED):
        lines += ["", "Fine-tuned:", "", *judged(claim, runs, FINETUNED)]
    if has_curves(arms_of(claim), runs):
        lines += ["", f"![{claim.title}: over steps](images/evidence/{name}.png)"]
    return "\n".join([*lines, ""])


def judged(claim: Claim, runs: Runs, judges: Sequence[Judge]) -> list[str]:
    """A table of figures and one of differences."""
    names = [THUMBNAILS, RANDOM, *(name for name in arms_of(claim) if name != RANDOM)]
    heads = (*(judge.title for judge in judges), "seeds")
    rows = [
        (title(name), figures_row(runs.get(name, {}), feature_of(name), judges)) for name in names
    ]
    rows.insert(
        2, (f"{title(RANDOM)}, mean patch", figures_row(runs.get(RANDOM, {}), "avg", judges))
    )
    pairs = [
        (f"{title(own)} against {title(other)}", differences_row(runs, own, other, judges))
        for own, other in claim.pairs
    ]
    return [*table("arm", rows, heads), "", "Differences:", "", *table("pair", pairs, heads)]


def cost_section(runs: Runs) -> str:
    """What a pretraining took, so that equal steps can be told from equal time; and where."""
    rows = []
    for name in ARMS:
        own = [
            run["costs"]["pretraining_processor_seconds"]
            for run in runs.get(name, {}).values()
            if "pretraining_processor_seconds" in run["costs"]
        ]
        if own:
            commits = sorted({run["commit"] for run in runs[name].values()})
            rows.append(
                (title(name), [f"{summarise(own).mean:.0f}", str(len(own)), ", ".join(commits)])
            )
    machines = sorted(
        {run["machine"]["processor"] for own in runs.values() for run in own.values()}
    )
    lines = ["## What a run takes", "", f"On one core of: {'; '.join(machines)}.", ""]
    return "\n".join([*lines, *table("arm", rows, ("processor seconds", "seeds", "commits")), ""])


def feature_of(name: str) -> str:
    """What stands for an image in an arm."""
    return ARMS[name].feature if name in ARMS else "cls"


def figures_row(
    runs: Mapping[int, Mapping[str, Any]], feature: str, judges: Sequence[Judge]
) -> list[str]:
    """Mean and deviation of each judge, and the number of seeds."""
    cells = [figure_cell(judge, values_of(runs, judge.figure(feature))) for judge in judges]
    return [*cells, str(len(runs)) if runs else "not run"]


def figure_cell(judge: Judge, values: Mapping[int, float]) -> str:
    """``47.1 ± 0.6``, ``47.1`` of one seed, or a dash."""
    if not values:
        return "-"
    found, digits = summarise(list(values.values())), digits_of(judge)
    mean = f"{found.mean:.{digits}f}"
    return mean if found.count == 1 else f"{mean} ± {found.deviation:.{digits}f}"


def differences_row(runs: Runs, own: str, other: str, judges: Sequence[Judge]) -> list[str]:
    """Paired difference of each judge, and the number of seeds."""
    # Random weights have both features, and are compared in the one that the arm trains.
    features = feature_of(own), feature_of(own if other == RANDOM else other)
    sides = [(runs.get(name, {}), one) for name, one in zip((own, other), features, strict=True)]
    found = [
        compare(*(values_of(side, judge.figure(feature)) for side, feature in sides))
        for judge in judges
    ]
    cells = [difference_cell(judge, one) for judge, one in zip(judges, found, strict=True)]
    counts = [one.count for one in found if one is not None]
    return [*cells, str(max(counts)) if counts else "not run"]


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
    """Of an arm, in tables."""
    return "16 x 16 thumbnails" if name == THUMBNAILS else ARMS[name].title


def table(
    corner: str, rows: Sequence[tuple[str, Sequence[str]]], heads: Sequence[str]
) -> list[str]:
    """A Markdown table."""
    lines = [f"| {corner} | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    return lines + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
