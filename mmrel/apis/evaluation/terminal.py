"""Tells on a terminal what an evaluation does."""

import sys
import time
from typing import TextIO

from mmrel.apis.evaluation.progress import ADVANCE, DONE, FAILED, KEPT, START, Event
from mmrel.apis.evaluation.protocol import Outcome, Protocol
from mmrel.apis.evaluation.subjects import CHECKPOINT
from mmrel.utils.text import format_seconds

LOADED = ("file", "layout", "network", "tensors")
"""Facts of a checkpoint that are told."""

QUIET_INTERVAL = 20.0
"""Seconds between two lines of one stage in a log file; a terminal shows every change in one line."""


class Terminal:
    """Prints a line for each stage, and its progress with the time that is left.

    Args:
        stream: where to; a terminal gets lines that are rewritten.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.begun = self.last = time.monotonic()
        self.introduced: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Print the event, if it says something; before a checkpoint's first one, what was loaded."""
        subject = event.stage.subject
        if subject.kind == CHECKPOINT and subject.label not in self.introduced:
            self.introduced.add(subject.label)
            facts = [subject.facts[name] for name in LOADED if name in subject.facts]
            self._put(f"{subject.label}: {', '.join(facts)}\n")
        if event.kind in (START, ADVANCE):
            now = time.monotonic()
            if self.live:
                self._put("\r\033[K" + self._line(event, _going(event)))
            elif now - self.last >= QUIET_INTERVAL:
                self.last = now
                self._put(self._line(event, _going(event)) + "\n")
            return
        text = {DONE: _found, KEPT: _kept, FAILED: _failed}[event.kind](event)
        self._put(("\r\033[K" if self.live else "") + self._line(event, text) + "\n")

    def _line(self, event: Event, text: str) -> str:
        stage = event.stage
        spent = format_seconds(time.monotonic() - self.begun)
        return f"[{spent}] {event.number}/{event.count} {stage.subject.label}, {stage.name}: {text}"

    def _put(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def summary(outcome: Outcome, protocol: Protocol) -> str:
    """The figures that stand in the table on top of the page."""
    named = [(m, outcome.figures.get(m.key)) for m in protocol.measures]
    texts = [f"{m.title} {value:.{m.digits}f}" for m, value in named if value is not None]
    if not texts:
        texts = [f"{key} {v:.1f}" for key, v in outcome.figures.items() if v is not None]
    if count := len(outcome.pictures):
        texts.append(f"{count} picture{'' if count == 1 else 's'}")
    return ", ".join(texts) or "nothing"


def _left(event: Event) -> str:
    return "" if event.left is None else f", {format_seconds(event.left)} left"


def _going(event: Event) -> str:
    return f"{100 * event.share:.0f} %{_left(event)}"


def _found(event: Event) -> str:
    assert event.outcome is not None
    text = summary(event.outcome, event.stage.protocol)
    return f"{text} ({format_seconds(event.seconds)}{_left(event)})"


def _kept(event: Event) -> str:
    assert event.outcome is not None
    return f"{summary(event.outcome, event.stage.protocol)} (done before)"


def _failed(event: Event) -> str:
    return f"FAILED: {event.message}"
