"""The table on top of the page: all measures of all checkpoints, and who is not ahead of random weights."""

from collections.abc import Sequence

from markupsafe import Markup

from mmrel.apis.evaluation.protocol import Measure
from mmrel.apis.evaluation.results import Results
from mmrel.visualization import report
from mmrel.visualization.report import Cell

DASH = "\N{EN DASH}"
DIGITS = 1


def summary_parts(results: Results) -> list[Markup]:
    """Verdict, table, and what failed or was left out."""
    measures = [
        (name, measure)
        for name, (protocol, _) in results.protocols.items()
        for measure in protocol.measures
    ]
    lines = [(name, m, _values(results, name, m)) for name, m in measures]
    shown = [line for line in lines if any(value is not None for value in line[2])]
    parts = []
    if shown:
        if results.subjects.random_of:
            parts.append(report.verdict(*_verdict(results, shown)))
        parts.append(_summary_table(results, shown))
        parts.append(report.paragraph(_legend(results)))
    return [*parts, *_missing(results)]


def _verdict(
    results: Results, lines: Sequence[tuple[str, Measure, list[float | None]]]
) -> tuple[str, bool]:
    """Where a checkpoint does not do better than random weights of its network, as the figures are shown."""
    behind = []
    for subject in results.subjects.checkpoints:
        random = results.subjects.random_of.get(subject.label)
        names = []
        for name, measure, _ in lines:
            own = results.figure(subject.label, name, measure.key)
            other = results.figure(random, name, measure.key)
            if measure.better and not _is_better(own, other, measure):
                names.append(measure.title)
        if names:
            behind.append(f"{subject.label} on {', '.join(names)}")
    if not behind:
        return "Every checkpoint is ahead of random weights of its network on every measure.", True
    return f"Not ahead of random weights: {'; '.join(behind)}.", False


def _is_better(own: float | None, other: float | None, measure: Measure) -> bool:
    """Whether the first value is the better one; nobody is behind where a value is missing."""
    if own is None or other is None:
        return True
    difference = round(own, measure.digits) - round(other, measure.digits)
    return difference > 0 if measure.better == "high" else difference < 0


def _summary_table(
    results: Results, lines: Sequence[tuple[str, Measure, list[float | None]]]
) -> Markup:
    labels = [subject.label for subject in results.subjects.checkpoints]
    side = thumbnails_label(results)
    rows: list[list[str | Cell]] = []
    for name, measure, values in lines:
        cells = [
            Cell(figure_text(value, measure.digits), _beside(results, label, name, measure))
            for label, value in zip(labels, values, strict=True)
        ]
        if side is not None:
            pixels = results.figure(side, name, measure.thumbnails or measure.key)
            cells.append(Cell(figure_text(pixels, measure.digits)))
        rows.append([measure.title, *cells])
    header = ["", *labels, *([] if side is None else [side])]
    return report.table(header, rows, [_best(m, values) for _, m, values in lines])


def _legend(results: Results) -> str:
    text = "Per cent, unless the line says otherwise. "
    if len(results.subjects.checkpoints) > 1:
        text += "The best checkpoint of a line is marked. "
    if results.subjects.random_of:
        text += "Small: random weights of the same network."
    return text.strip()


def _missing(results: Results) -> list[Markup]:
    """What failed and what was left out, never without a word."""
    failed = [f"{label}, {name}: {reason}" for (label, name), reason in results.failures.items()]
    skipped = [f"{name}: {reason}" for name, reason in results.skipped.items()]
    parts = []
    if failed:
        parts += [
            report.verdict(f"{len(failed)} evaluation(s) failed", False),
            report.bullets(failed),
        ]
    if skipped:
        parts += [report.paragraph("Left out:"), report.bullets(skipped)]
    return parts


def _values(results: Results, name: str, measure: Measure) -> list[float | None]:
    return [results.figure(s.label, name, measure.key) for s in results.subjects.checkpoints]


def _beside(results: Results, label: str, name: str, measure: Measure) -> str:
    value = results.figure(results.subjects.random_of.get(label), name, measure.key)
    return "" if value is None else f"random {figure_text(value, measure.digits)}"


def _best(measure: Measure, values: Sequence[float | None]) -> set[int]:
    """Columns of the best values, as they are shown; nobody is best alone."""
    rounded = [None if v is None else round(v, measure.digits) for v in values]
    known = [value for value in rounded if value is not None]
    if len(known) < 2 or not measure.better or len(set(known)) == 1:
        return set()
    best = max(known) if measure.better == "high" else min(known)
    return {column for column, value in enumerate(rounded, start=1) if value == best}


def thumbnails_label(results: Results) -> str | None:
    """Label of the thumbnails, if there is a figure of them."""
    side = results.subjects.thumbnails
    known = {label for label, _ in results.records}
    return side.label if side is not None and side.label in known else None


def figure_text(value: float | None, digits: int = DIGITS) -> str:
    """A number as the page shows it; a dash where there is none."""
    if value is None:
        return DASH
    # Adding 0 makes 0 of what is rounded to -0.
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")
