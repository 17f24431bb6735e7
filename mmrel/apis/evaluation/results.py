"""All figures of an evaluation in one JSON file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmrel.apis.evaluation.protocol import Protocol
from mmrel.apis.evaluation.stages import FORMAT, Record
from mmrel.apis.evaluation.subjects import Subject, Subjects
from mmrel.utils.files import write_text_atomically
from mmrel.utils.machine import machine


@dataclass(frozen=True)
class Results:
    """What was found, and from what.

    Attributes:
        suite: its name.
        subjects: what was compared.
        data: paths and digests of the parts.
        protocols: those that ran, with their settings, by name.
        skipped: reason by protocol that did not.
        records: by label and protocol.
        failures: reason by label and protocol.
    """

    suite: str
    subjects: Subjects
    data: dict[str, Any]
    protocols: dict[str, tuple[Protocol, Mapping[str, Any]]]
    skipped: dict[str, str] = field(default_factory=dict)
    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    def figure(self, label: str | None, protocol: str, key: str) -> float | None:
        """One number; ``None`` where there is none."""
        record = self.records.get((label or "", protocol))
        return None if record is None else record.outcome.figures.get(key)

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "format": FORMAT,
            "suite": self.suite,
            "data": self.data,
            "machine": dict(machine()),
            "networks": [self._network(subject) for subject in self.subjects.all],
            "protocols": {
                name: {"title": protocol.title, "settings": dict(settings)}
                for name, (protocol, settings) in self.protocols.items()
            },
            "results": [
                {"network": label, "protocol": name, **_values(record)}
                for (label, name), record in self.records.items()
            ],
            "skipped": self.skipped,
            "failed": [
                {"network": label, "protocol": name, "reason": reason}
                for (label, name), reason in self.failures.items()
            ],
        }

    def _network(self, subject: Subject) -> dict[str, Any]:
        beside = self.subjects.random_of.get(subject.label)
        return {
            "label": subject.label,
            "kind": subject.kind,
            **subject.facts,
            **({} if beside is None else {"random weights": beside}),
        }


def write_results(path: Path, results: Results) -> None:
    """Write them, whole or not at all."""
    text = json.dumps(results.as_json(), indent=2, allow_nan=False) + "\n"
    write_text_atomically(path, text)


def _values(record: Record) -> dict[str, Any]:
    return {
        **record.outcome.as_json(),
        "pictures": [asdict(shot) for shot in record.outcome.pictures],
        "seconds": record.seconds,
        "finished": record.finished,
        "versions": record.versions,
    }
