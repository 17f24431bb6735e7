"""Runs the chosen protocols for every checkpoint and what stands beside it; never repeats what is done."""

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device

from mmrel.apis.backbone import brief_log
from mmrel.apis.evaluation.data import EvaluationData, find_data
from mmrel.apis.evaluation.folder import open_folder
from mmrel.apis.evaluation.page import write_evaluation_page
from mmrel.apis.evaluation.progress import ADVANCE, DONE, FAILED, KEPT, START, Estimate, Event, Tell
from mmrel.apis.evaluation.protocol import SUITES, Desk, Outcome, Protocol
from mmrel.apis.evaluation.protocols import PROTOCOLS
from mmrel.apis.evaluation.results import Results, write_results
from mmrel.apis.evaluation.stages import Record, Shelf, Stage, plan_stage
from mmrel.apis.evaluation.subjects import CHECKPOINT, Subject, Subjects, find_subjects
from mmrel.utils.errors import UsageError
from mmrel.utils.files import write_text_atomically

TICK = 0.5
"""Seconds between two reports of a stage's progress."""


@dataclass(frozen=True)
class Evaluation:
    """What :func:`evaluate` leaves.

    Attributes:
        report: the HTML page.
        json: all figures.
        results: what is in both.
    """

    report: Path
    json: Path
    results: Results

    @property
    def failures(self) -> dict[tuple[str, str], str]:
        """Reason by label and protocol."""
        return self.results.failures


@dataclass
class Choice:
    """What is run.

    Attributes:
        protocols: with their settings, by name.
        skipped: reason by protocol that is left out.
    """

    protocols: dict[str, tuple[Protocol, Mapping[str, Any]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def evaluate(
    checkpoints: Sequence[str | Path],
    data: str | Path | EvaluationData,
    suite: str = "quick",
    out: str | Path = "work_dirs/evaluation",
    random: bool = True,
    thumbnails: bool = True,
    protocols: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    image_size: int | None = None,
    device: str | None = None,
    workers: int = 0,
    progress: Tell | None = None,
    table: Mapping[str, Protocol] = PROTOCOLS,
    **weights: Any,
) -> Evaluation:
    """Judge checkpoints side by side: ``results.json`` and ``report.html`` in one folder.

    Each protocol for each network is a stage whose result is kept in a file of its own under a key of everything that
    it depends on: weights, settings, names and sizes of the data's files, versions. What is done is not repeated, also
    after a kill; a changed checkpoint is evaluated anew. A protocol that fails does not stop the others.

    Args:
        checkpoints: files of mmrel or another project, as ``get_backbone`` reads them; or pretrainings' configs.
        data: a folder with the parts that ``find_data`` knows, or the parts themselves.
        suite: ``'quick'``: minutes, on samples; ``'full'``: everything.
        out: folder to write, new or from an evaluation with the same data and suite.
        random: whether random weights of each network are evaluated too.
        thumbnails: whether thumbnails of 16 x 16 pixels are, where that makes sense.
        protocols: names of some; ``None``: all of the suite.
        labels: what to call the checkpoints.
        image_size: side of the inputs of classification; ``None``: that of the pretraining, 224 at most.
        device: to compute on; ``None``: a GPU if there is one.
        workers: processes that read images; 0: this one.
        progress: is told what happens.
        table: the protocols that there are.
        **weights: ``network`` (by default the teacher), ``num_heads``, ``mean`` and ``std``, as for ``get_backbone``.

    Raises:
        UsageError: a wrong argument; nothing has been computed then.
    """
    chosen_data = data if isinstance(data, EvaluationData) else find_data(data)
    choice = choose_protocols(table, protocols, suite, chosen_data, image_size)
    subjects = find_subjects(checkpoints, labels, random, thumbnails, **weights)
    folder = open_folder(Path(out), suite, chosen_data)
    stages = plan(subjects, choice, chosen_data)
    runner = Runner(folder, stages, chosen_data, device or get_device(), workers, progress)
    results = Results(
        suite,
        subjects,
        chosen_data.describe(),
        choice.protocols,
        choice.skipped,
        runner.run(),
        runner.failures,
    )
    found = Evaluation(folder / "report.html", folder / "results.json", results)
    write_results(found.json, results)
    write_evaluation_page(found.report, results, folder / "pictures")
    return found


def choose_protocols(
    table: Mapping[str, Protocol],
    names: Sequence[str] | None,
    suite: str,
    data: EvaluationData,
    image_size: int | None = None,
) -> Choice:
    """The protocols that are asked for and have data.

    Raises:
        UsageError: an unknown suite or protocol, or none is left.
    """
    if suite not in SUITES:
        raise UsageError(f"the suite is {suite!r}; choose {' or '.join(SUITES)}")
    if unknown := [name for name in names or () if name not in table]:
        raise UsageError(
            f"there is no protocol {', '.join(unknown)}; choose from {', '.join(table)}"
        )
    choice = Choice()
    for name in table if names is None else dict.fromkeys(names):
        protocol = table[name]
        if suite not in protocol.settings and names is None:
            choice.skipped[name] = f"not part of the {suite} suite"
        elif not any(part in data.parts for part in protocol.needs):
            choice.skipped[name] = f"no data for it: give {' or '.join(protocol.needs)}"
        else:
            own = protocol.settings.get(suite) or next(iter(protocol.settings.values()))
            sized = image_size is not None and "image_size" in own
            choice.protocols[name] = protocol, {**own, "image_size": image_size} if sized else own
    if not choice.protocols:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in choice.skipped.items())
        raise UsageError(f"no protocol is left to run: {reasons}")
    return choice


def plan(subjects: Subjects, choice: Choice, data: EvaluationData) -> list[Stage]:
    """All stages, network by network, so that the protocols of one share its features."""
    return [
        plan_stage(subject, name, protocol, settings, data)
        for subject in subjects.all
        for name, (protocol, settings) in choice.protocols.items()
        if subject.kind == CHECKPOINT or subject.kind in protocol.baselines
    ]


class Runner:
    """Runs those stages that are not done.

    Args:
        folder: of the evaluation.
        stages: network by network.
        data: to evaluate on.
        device: to compute on.
        workers: processes that read images.
        tell: is told what happens.
    """

    def __init__(
        self,
        folder: Path,
        stages: Sequence[Stage],
        data: EvaluationData,
        device: str,
        workers: int = 0,
        tell: Tell | None = None,
    ) -> None:
        self.shelf = Shelf(folder)
        self.logs = folder / "logs"
        self.stages = list(stages)
        self.data = data
        self.device = device
        self.workers = workers
        self.tell = tell or (lambda event: None)
        self.estimate = Estimate({stage.name: stage.protocol.cost for stage in stages})
        self.failures: dict[tuple[str, str], str] = {}
        self.subject: Subject | None = None
        self.backbone: Any = None
        self.memory: dict[Any, Any] = {}

    def run(self) -> dict[tuple[str, str], Record]:
        """What each stage found, by label and protocol; failures are in ``failures``."""
        found: dict[tuple[str, str], Record] = {}
        waiting = self._keep_done(found)
        while waiting:
            index = waiting.pop(0)
            stage = self.stages[index]
            # Two files with the same content share their stages.
            record = self.shelf.read(stage) or self._attempt(index, waiting)
            if record is not None:
                found[stage.subject.label, stage.name] = record
        return found

    def _keep_done(self, found: dict[tuple[str, str], Record]) -> list[int]:
        waiting = []
        for index, stage in enumerate(self.stages):
            record = self.shelf.read(stage)
            if record is None:
                waiting.append(index)
                continue
            found[stage.subject.label, stage.name] = record
            self.estimate.note(stage.name, record.seconds)
            self._say(KEPT, index, seconds=record.seconds, outcome=record.outcome)
        return waiting

    def _attempt(self, index: int, waiting: Sequence[int]) -> Record | None:
        """Run one stage; whatever goes wrong in it is noted, logged and told."""
        stage, begun = self.stages[index], time.monotonic()
        names = [self.stages[i].name for i in waiting]
        self._say(START, index, left=self.estimate.left([*names, stage.name]))
        try:
            outcome = self._compute(stage, self._advance(index, names, begun))
            seconds = time.monotonic() - begun
            record = self.shelf.write(stage, outcome, seconds)
        except Exception as error:  # whatever a protocol raises must not lose the others
            message = str(error).strip() or type(error).__name__
            self.failures[stage.subject.label, stage.name] = message
            log = self.logs / f"{stage.name}-{stage.key}.log"
            write_text_atomically(log, traceback.format_exc())
            self._say(FAILED, index, message=f"{message} (whole error: {log})")
            return None
        self.estimate.note(stage.name, seconds)
        self._say(DONE, index, seconds=seconds, outcome=outcome, left=self.estimate.left(names))
        return record

    def _compute(self, stage: Stage, advance: Any) -> Outcome:
        backbone = self._backbone(stage.subject)
        desk = Desk(
            self.shelf.pictures,
            f"{stage.key}-",
            self.device,
            self.workers,
            self.memory,
            advance,
        )
        self.shelf.pictures.mkdir(parents=True, exist_ok=True)
        with seeded():
            return stage.protocol.function()(backbone, self.data, stage.settings, desk)

    def _backbone(self, subject: Subject) -> Any:
        """The network of a subject on the device; that of the one before is let go."""
        if self.subject is not subject:
            self.subject, self.backbone, self.memory = None, None, {}
            # What is loaded is told by the terminal and the page.
            with seeded(), brief_log():
                built = subject.build()
            self.backbone = None if built is None else built.to(self.device)
            self.subject = subject
        return self.backbone

    def _advance(self, index: int, names: Sequence[str], begun: float) -> Any:
        last = [begun]

        def advance(done: int, count: int) -> None:
            now = time.monotonic()
            if now - last[0] < TICK or not count:
                return
            last[0] = now
            share = done / count
            left = self.estimate.left(names, self.stages[index].name, share, now - begun)
            self._say(ADVANCE, index, share=share, seconds=now - begun, left=left)

        return advance

    def _say(self, kind: str, index: int, **values: Any) -> None:
        self.tell(Event(kind, self.stages[index], index + 1, len(self.stages), **values))


@contextmanager
def seeded() -> Iterator[None]:
    """Random numbers as at every first start, so that a stage's result does not depend on those before it."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        yield
