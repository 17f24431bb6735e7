"""Tables and plots of the evidence, from the JSON files of the runs: ``docs/evidence-tables.md``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence_arms import ARMS, CLAIMS, RANDOM, THUMBNAILS, Claim
from evidence_judges import FINETUNED, JUDGES, Judge
from evidence_pictures import draw_pictures, shown_arms
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
PICTURES = """Three validation scenes as the networks of seed 0 see them: attention of the class token (without one, of
the mean query), cosine with the patch in the middle, and the first three principal components of the patches of all
three."""
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
        draw_pictures(shown(claim, folder), folder, IMAGES / f"{name}-pictures.png")
    write_text_atomically(PAGE, page_text(folder))
    return f"written: {PAGE}"


def page_text(folder: Path) -> str:
    """The whole page, of a folder of results."""
    runs = read_results(folder)
    sections = [
        claim_section(name, claim, runs, bool(shown(claim, folder)))
        for name, claim in CLAIMS.items()
    ]
    return "\n".join([HEAD, *sections, cost_section(runs)])


def arms_of(claim: Claim) -> list[str]:
    """Of its pairs, each once, a base before what stands on it."""
    return list(dict.fromkeys(name for pair in claim.pairs for name in reversed(pair)))


def shown(claim: Claim, folder: Path) -> list[str]:
    """The claim's arms of which there are pictures, below random weights; empty if there are only those."""
    found = shown_arms(folder)
    own = [name for name in arms_of(claim) if name in found and name != RANDOM]
    return [RANDOM, *own] if own and RANDOM in found else own


def claim_section(name: str, claim: Claim, runs: Runs, pictures: bool) -> str:
    """Figures of the claim's arms, differences of its pairs, its curves and pictures."""
    lines = [f"## {claim.title}", "", claim.question, "", *frozen_tables(claim, runs)]
    if tuned := finetuned_tables(claim, runs):
        lines += ["", "Fine-tuned:", "", *tuned]
    if has_curves(arms_of(claim), runs):
        lines += ["", f"![{claim.title}: over steps](images/evidence/{name}.png)"]
    if pictures:
        lines += [
            "",
            PICTURES,
            "",
            f"![{claim.title}: pictures](images/evidence/{name}-pictures.png)",
        ]
    return "\n".join([*lines, ""])


def frozen_tables(claim: Claim, runs: Runs) -> list[str]:
    """What frozen features give, beside thumbnails and both features of random weights."""
    arms = [name for name in arms_of(claim) if name != RANDOM and ARMS[name].judged]
    rows = [(title(name), name, feature_of(name)) for name in (THUMBNAILS, RANDOM, *arms)]
    rows.insert(2, (f"{title(RANDOM)}, mean patch", RANDOM, "avg"))
    pairs = [pair for pair in claim.pairs if ARMS[pair[0]].judged]
    return two_tables(rows, pairs, runs, JUDGES)


def finetuned_tables(claim: Claim, runs: Runs) -> list[str]:
    """What fine-tunings gave, of the pairs of which both were fine-tuned; empty without any."""

    def tuned(name: str) -> bool:
        return any(values_of(runs.get(name, {}), judge.name) for judge in FINETUNED)

    pairs = [pair for pair in claim.pairs if all(map(tuned, pair))]
    if not pairs:
        return []
    arms = [name for name in arms_of(claim) if name != RANDOM and tuned(name)]
    rows = [(title(name), name, feature_of(name)) for name in (RANDOM, *arms)]
    judges = [
        judge
        for judge in FINETUNED
        if any(values_of(runs.get(name, {}), judge.name) for name in arms)
    ]
    return two_tables(rows, pairs, runs, judges)


def two_tables(
    rows: Sequence[tuple[str, str, str]],
    pairs: Sequence[tuple[str, str]],
    runs: Runs,
    judges: Sequence[Judge],
) -> list[str]:
    """Of figures, a row per ``(title, arm, feature)``, and of the pairs' differences."""
    heads = (*(judge.title for judge in judges), "seeds")
    figures = [
        (name, figures_row(runs.get(arm, {}), feature, judges)) for name, arm, feature in rows
    ]
    differences = [
        (f"{title(own)} against {title(other)}", differences_row(runs, own, other, judges))
        for own, other in pairs
    ]
    return [
        *table("arm", figures, heads),
        "",
        "Differences:",
        "",
        *table("pair", differences, heads),
    ]


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
