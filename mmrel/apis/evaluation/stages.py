"""One protocol for one network: its key, and the file that keeps what it found."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mmrel.apis.evaluation.data import EvaluationData
from mmrel.apis.evaluation.protocol import Outcome, Protocol
from mmrel.apis.evaluation.subjects import Subject, short_hash
from mmrel.utils.files import read_json_object, write_text_atomically
from mmrel.utils.machine import versions
from mmrel.version import __version__

FORMAT = 1
"""Of the stages' files."""


@dataclass(frozen=True)
class Stage:
    """What is computed once.

    Attributes:
        subject: the network.
        name: of the protocol.
        protocol: itself.
        inputs: everything that the result depends on, as JSON content.
    """

    subject: Subject
    name: str
    protocol: Protocol
    inputs: dict[str, Any]

    @property
    def key(self) -> str:
        """Short hash of the inputs."""
        return short_hash(self.inputs)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Of the protocol."""
        found: Mapping[str, Any] = self.inputs["settings"]
        return found


@dataclass(frozen=True)
class Record:
    """A stage that is done.

    Attributes:
        outcome: what it found.
        seconds: that it took.
        finished: when.
        versions: of the packages that it ran with.
    """

    outcome: Outcome
    seconds: float
    finished: str
    versions: dict[str, str]


def plan_stage(
    subject: Subject,
    name: str,
    protocol: Protocol,
    settings: Mapping[str, Any],
    data: EvaluationData,
) -> Stage:
    """The stage with everything that its result depends on."""
    inputs = {
        "format": FORMAT,
        "subject": subject.digest,
        "protocol": name,
        "protocol_version": protocol.version,
        "settings": dict(settings),
        "data": {part: data.digest(part) for part in protocol.needs if part in data.parts},
        "version": __version__,
    }
    return Stage(subject, name, protocol, json.loads(json.dumps(inputs)))


class Shelf:
    """The stages' files in an evaluation's folder.

    Args:
        out: the folder; results lie in ``stages/``, pictures in ``pictures/``.
    """

    def __init__(self, out: Path) -> None:
        self.stages = out / "stages"
        self.pictures = out / "pictures"

    def path(self, stage: Stage) -> Path:
        """File of a stage's result."""
        return self.stages / f"{stage.name}-{stage.key}.json"

    def read(self, stage: Stage) -> Record | None:
        """What the stage found, if it is done: its file is whole, its inputs are these, its pictures are there."""
        content = read_json_object(self.path(stage))
        if content is None or content.get("inputs") != stage.inputs:
            return None
        try:
            outcome = Outcome.from_json(content["outcome"])
            record = Record(outcome, content["seconds"], content["finished"], content["versions"])
        except (KeyError, TypeError):
            return None
        return record if all((self.pictures / s.file).is_file() for s in outcome.pictures) else None

    def write(self, stage: Stage, outcome: Outcome, seconds: float) -> Record:
        """Keep what the stage found; its pictures are on the disk already."""
        finished = datetime.now().isoformat(timespec="seconds")
        record = Record(outcome, round(seconds, 2), finished, versions())
        content = {
            "subject": stage.subject.label,
            "inputs": stage.inputs,
            "outcome": outcome.as_json(),
            "seconds": record.seconds,
            "finished": finished,
            "versions": record.versions,
        }
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        write_text_atomically(self.path(stage), text)
        return record
