"""The page that compares checkpoints: one table on top, a section per protocol, what was loaded, how it was made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mmrel.apis.evaluation.protocol import Outcome, Shot
from mmrel.apis.evaluation.results import Results
from mmrel.apis.evaluation.summary import DASH, DIGITS, figure_text, summary_parts, thumbnails_label
from mmrel.utils.machine import machine
from mmrel.utils.text import format_seconds, listed
from mmrel.visualization import report
from mmrel.visualization.report import Picture


def write_evaluation_page(path: Path, results: Results, pictures: Path) -> None:
    """Write the page.

    Args:
        path: HTML file.
        results: of the evaluation.
        pictures: folder of what the protocols drew.
    """
    labels = [subject.label for subject in results.subjects.checkpoints]
    names = [name for name in results.protocols if _labels_of(results, name)]
    sections = [(name, results.protocols[name][0].title) for name in names]
    contents = [
        ("summary", "Summary"),
        *sections,
        ("loaded", "What was loaded"),
        ("made", "How this was made"),
    ]
    report.write_page(
        path,
        f"{', '.join(labels)}: what the backbones have learnt",
        _introduction(results),
        [
            report.section("Summary", summary_parts(results), "summary"),
            *(_protocol_section(results, name, pictures) for name in names),
            report.section("What was loaded", _loaded(results), "loaded"),
            report.section("How this was made", _made(results), "made"),
        ],
        contents,
    )


def _introduction(results: Results) -> str:
    count = len(results.subjects.checkpoints)
    networks = "One frozen backbone" if count == 1 else f"{count} frozen backbones"
    text = (
        f"{networks}, judged by the {results.suite} suite: nothing of a backbone is trained here."
    )
    if results.subjects.random_of:
        text += " The same network with random weights shows what the architecture alone gives."
    if thumbnails_label(results) is not None:
        text += " Thumbnails show what colour and layout alone give."
    return text


def _labels_of(results: Results, name: str) -> list[str]:
    """Networks that this protocol has a result of."""
    return [s.label for s in results.subjects.all if (s.label, name) in results.records]


def _protocol_section(results: Results, name: str, pictures: Path) -> Markup:
    protocol, settings = results.protocols[name]
    labels = _labels_of(results, name)
    outcomes = {label: results.records[label, name].outcome for label in labels}
    parts = [report.paragraph(protocol.about), report.paragraph(_scope(settings, outcomes))]
    if any(outcome.figures for outcome in outcomes.values()):
        parts += _figure_tables(results, name, outcomes)
    parts += [_further(title, outcomes) for title in _in_order(o.tables for o in outcomes.values())]
    parts += _galleries(results, outcomes, pictures)
    if notes := _in_order(outcome.notes for outcome in outcomes.values()):
        parts.append(report.bullets(notes))
    return report.section(protocol.title, parts, name)


def _scope(settings: Any, outcomes: dict[str, Outcome]) -> str:
    """What was read, and the settings, in one line."""
    counts = next((o.counts for o in outcomes.values() if o.counts), {})
    read = ", ".join(f"{count} {what}" for what, count in counts.items())
    given = {name.replace("_", " "): value for name, value in settings.items() if value is not None}
    chosen = ", ".join(f"{name} {_plain(value)}" for name, value in given.items())
    return " ".join(
        ([f"Read: {read}."] if read else []) + ([f"Settings: {chosen}."] if chosen else [])
    )


def _plain(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _figure_tables(results: Results, name: str, outcomes: dict[str, Outcome]) -> list[Markup]:
    """One table of the networks; thumbnails have figures of their own, so a table of their own."""
    apart = thumbnails_label(results)
    groups = [
        {label: outcome for label, outcome in outcomes.items() if label != apart},
        {label: outcome for label, outcome in outcomes.items() if label == apart},
    ]
    return [_figure_table(results, name, group) for group in groups if group]


def _figure_table(results: Results, name: str, outcomes: dict[str, Outcome]) -> Markup:
    protocol = results.protocols[name][0]
    keys = _in_order(outcome.figures for outcome in outcomes.values())
    known = {measure.key: measure.digits for measure in protocol.measures}
    rows = [
        [label, *(figure_text(outcome.figures.get(key), known.get(key, DIGITS)) for key in keys)]
        for label, outcome in outcomes.items()
    ]
    header = ["", *(protocol.titles.get(key, key.replace("_", " ")) for key in keys)]
    return report.table(header, rows)


def _further(title: str, outcomes: dict[str, Outcome]) -> Markup:
    tables = {label: outcome.tables.get(title, {}) for label, outcome in outcomes.items()}
    lines = _in_order(tables.values())
    rows = [[line, *(figure_text(table.get(line)) for table in tables.values())] for line in lines]
    return report.details(title, [report.table(["", *tables], rows)])


def _galleries(results: Results, outcomes: dict[str, Outcome], pictures: Path) -> list[Markup]:
    """Pictures of one name one below the other: what all networks see, the checkpoints, and the rest on demand."""
    own = {subject.label for subject in results.subjects.checkpoints}
    shots = [(label, shot) for label, outcome in outcomes.items() for shot in outcome.pictures]
    parts = []
    for name in dict.fromkeys(shot.name for _, shot in shots):
        found = [(label, shot) for label, shot in shots if shot.name == name]
        common = {shot.common: shot for _, shot in found if shot.common}
        single = [(label, shot) for label, shot in found if not shot.common]
        first = [*common.items(), *((label, shot) for label, shot in single if label in own)]
        rest = [(label, shot) for label, shot in single if label not in own]
        parts.append(report.subheading(name))
        parts += [
            report.paragraph(text) for text in _in_order([s.caption] for _, s in found) if text
        ]
        parts.append(_gallery(first, pictures))
        if rest:
            parts.append(report.details("Random weights", [_gallery(rest, pictures)]))
    return parts


def _gallery(shots: Sequence[tuple[str, Shot]], pictures: Path) -> Markup:
    return report.pictures([Picture(pictures / shot.file, "", title) for title, shot in shots])


def _loaded(results: Results) -> list[Markup]:
    own = results.subjects.checkpoints
    names = _in_order(subject.facts for subject in own)
    rows = [[name, *(subject.facts.get(name, DASH) for subject in own)] for name in names]
    return [report.table(["", *(subject.label for subject in own)], rows)]


def _made(results: Results) -> list[Markup]:
    rows = [
        [label, name, format_seconds(record.seconds), record.finished.replace("T", " ")]
        for (label, name), record in results.records.items()
    ]
    where = [[part, _place(facts["path"]), facts["digest"]] for part, facts in results.data.items()]
    total = sum(record.seconds for record in results.records.values())
    return [
        report.table(["data", "folder", "digest of names and sizes"], where),
        report.table(["machine and versions", ""], machine()),
        report.details(
            f"Time of each evaluation ({format_seconds(total)} in all)",
            [report.table(["network", "protocol", "time (m:ss)", "finished"], rows)],
        ),
    ]


def _place(path: str | list[str]) -> str:
    return path if isinstance(path, str) else listed(path)


def _in_order(groups: Any) -> list[str]:
    """All items of some groups once, in the order that they come."""
    return list(dict.fromkeys(item for group in groups for item in group))
