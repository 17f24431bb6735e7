"""Tables and plots of the evidence, from the JSON files of the runs: ``docs/evidence-tables.md``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence_arms import ARMS, BASELINES, CLAIMS, RANDOM, Claim, Pair
from evidence_data import DATA_SETS, SCENES, DataSet
from evidence_judges import FEATURES, FINETUNED, JUDGES, Judge
from evidence_pictures import draw_pictures, shown_arms
from evidence_plots import draw_curves, has_curves
from evidence_run import RESULTS, ROOT
from evidence_statistics import read_results, summarise, values_of
from evidence_tables import Runs, feature_of, frozen_rows, table, title, two_tables

from mmrel.utils import UsageError
from mmrel.utils.files import write_text_atomically

PAGE = ROOT / "docs" / "evidence-tables.md"
IMAGES = ROOT / "docs" / "images" / "evidence"
SECONDS = "pretraining_processor_seconds"
"""Among a run's costs."""
HEAD = """# Evidence: tables

Written by `python benchmarks/evidence.py page` from the files below `benchmarks/results/evidence`; how the runs were
made, and what follows from them, is said in [Evidence](evidence.md). Figures are in per cent, except the cosine and the
effective rank: mean over seeds, the standard deviation between seeds, and, of differences, the half width of Student's
95 % interval, paired by seed. Differences in bold have an interval without zero. Rows of several bases take all their
differences for one sample, as if each came with a base of its own.
"""
PICTURES = """Three validation scenes as one network of each arm sees them (seed 0, unless
[Evidence](evidence.md) names another): attention of the class token (without one, of the mean query), cosine with the
patch in the middle, and the first three principal components of the patches of all three."""


def write_page(results: Path = RESULTS) -> str:
    """Write the page and its plots; returns a line that says where.

    Args:
        results: holds a folder of JSON files per data set.

    Raises:
        UsageError: there are no results of the scenes.
    """
    folder = results / SCENES.name
    runs = read_results(folder)
    if not runs:
        raise UsageError(f"{folder} holds no results; run some arms first")
    for name, claim in CLAIMS.items():
        draw_curves(arms_of(claim.pairs), runs, IMAGES / f"{name}.png")
        draw_pictures(shown(claim, folder), folder, IMAGES / f"{name}-pictures.png")
    write_text_atomically(PAGE, page_text(results))
    return f"written: {PAGE}"


def page_text(results: Path) -> str:
    """The whole page: a section per claim from the scenes, and one per further data set with results."""
    folder = results / SCENES.name
    runs = read_results(folder)
    sections = [
        claim_section(name, claim, runs, bool(shown(claim, folder)))
        for name, claim in CLAIMS.items()
    ]
    costs = "\n".join(["## What a run takes", *cost_lines(runs), ""])
    further = {name: read_results(results / name) for name in DATA_SETS if name != SCENES.name}
    others = [data_section(DATA_SETS[name], own) for name, own in further.items() if own]
    return "\n".join([HEAD, *sections, costs, *others])


def arms_of(pairs: Sequence[Pair]) -> list[str]:
    """Each once, a base before what stands on it."""
    return list(dict.fromkeys(name for pair in pairs for name in reversed(pair)))


def shown(claim: Claim, folder: Path) -> list[str]:
    """The claim's arms of which there are pictures, below random weights; empty if there are only those."""
    found = shown_arms(folder)
    own = [name for name in arms_of(claim.pairs) if name in found and name != RANDOM]
    return [RANDOM, *own] if own and RANDOM in found else own


def claim_section(name: str, claim: Claim, runs: Runs, pictures: bool) -> str:
    """Figures of the claim's arms, differences of its pairs, its curves and pictures."""
    lines = [f"## {claim.title}", "", claim.question, "", *frozen_tables(claim, runs)]
    lines += finetuned_tables(claim.pairs, runs, claim.together)
    if has_curves(arms_of(claim.pairs), runs):
        lines += ["", f"![{claim.title}: over steps](images/evidence/{name}.png)"]
    if pictures:
        image = f"![{claim.title}: pictures](images/evidence/{name}-pictures.png)"
        lines += ["", PICTURES, "", image]
    return "\n".join([*lines, ""])


def frozen_tables(claim: Claim, runs: Runs) -> list[str]:
    """What frozen features give, beside the baselines and both features of random weights."""
    arms = [name for name in arms_of(claim.pairs) if name != RANDOM and ARMS[name].judged]
    pairs = [pair for pair in claim.pairs if ARMS[pair[0]].judged]
    rows = frozen_rows([*BASELINES, RANDOM, *arms])
    return two_tables(rows, pairs, runs, JUDGES, claim.together)


def finetuned_tables(
    pairs: Sequence[Pair], runs: Runs, together: Mapping[str, Sequence[Pair]] | None = None
) -> list[str]:
    """What fine-tunings gave, below a line that says so, of pairs of which both were fine-tuned; empty without any."""

    def tuned(name: str) -> bool:
        return bool(_used(FINETUNED, runs, [name]))

    compared = [pair for pair in pairs if all(map(tuned, pair))]
    if not compared:
        return []
    arms = [name for name in arms_of(pairs) if name != RANDOM and tuned(name)]
    rows = [(title(name), name, feature_of(name)) for name in (RANDOM, *arms)]
    groups = {
        name: group for name, group in (together or {}).items() if set(compared).issuperset(group)
    }
    tables = two_tables(rows, compared, runs, _used(FINETUNED, runs, arms), groups)
    return ["", "Fine-tuned:", "", *tables]


def data_section(dataset: DataSet, runs: Runs) -> str:
    """A further data set: what was run and judged there, and no more."""
    judged = {name for name in runs if name in BASELINES or ARMS[name].judged}
    arms = [name for name in (*BASELINES, *ARMS) if name in judged]
    pairs = [pair for claim in CLAIMS.values() for pair in claim.pairs]
    frozen = [pair for pair in pairs if judged.issuperset(pair)]
    lines = [f"## {dataset.title}", "", dataset.about, ""]
    lines += two_tables(frozen_rows(arms), frozen, runs, _used(JUDGES, runs, arms))
    lines += finetuned_tables(pairs, runs)
    return "\n".join([*lines, *cost_lines(runs), ""])


def cost_lines(runs: Runs) -> list[str]:
    """What a pretraining took, so that equal steps can be told from equal time, on each processor."""
    rows: list[tuple[str, list[str]]] = []
    timed = {
        name: own
        for name in ARMS
        if (own := [run for run in runs.get(name, {}).values() if SECONDS in run["costs"]])
    }
    processors = sorted({_processor(run) for own in timed.values() for run in own})
    for name, own in timed.items():
        commits = sorted({run["commit"] for run in own})
        cells = [_seconds(own, processor) for processor in processors]
        rows.append((title(name), [*cells, ", ".join(commits)]))
    about = "Processor seconds of a pretraining on one core, mean and number of seeds:"
    return ["", about, "", *table("arm", rows, (*processors, "commits"))] if rows else []


def _seconds(runs: Sequence[Mapping[str, Any]], processor: str) -> str:
    values = [run["costs"][SECONDS] for run in runs if _processor(run) == processor]
    return f"{summarise(values).mean:.0f} ({len(values)})" if values else "-"


def _processor(run: Mapping[str, Any]) -> str:
    """Whose name does not tell whether it trained in the recipe's bfloat16 or, slow in that, in float32."""
    name: str = run["machine"]["processor"]
    return f"{name}, in float32" if run.get("precision") == "fp32" else name


def _used(judges: Sequence[Judge], runs: Runs, arms: Sequence[str]) -> list[Judge]:
    """Those that judged one of the arms."""
    return [
        judge
        for judge in judges
        if any(
            values_of(runs.get(name, {}), figure)
            for name in arms
            for figure in map(judge.figure, FEATURES)
        )
    ]
