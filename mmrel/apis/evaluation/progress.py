"""What happens during an evaluation, and how long the rest will take."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mmrel.apis.evaluation.protocol import Outcome
from mmrel.apis.evaluation.stages import Stage

START, ADVANCE, DONE, KEPT, FAILED = "start", "advance", "done", "kept", "failed"


@dataclass(frozen=True)
class Event:
    """Something to tell.

    Attributes:
        kind: ``'start'``, ``'advance'``, ``'done'``, ``'kept'`` (was done before) or ``'failed'``.
        stage: of which.
        number: of the stage, from 1 on.
        count: of all stages.
        share: of this stage that is done, 0 to 1.
        seconds: that this stage took.
        left: seconds that the rest will take, as far as one can tell; ``None``: unknown.
        outcome: of a stage that is done.
        message: why it failed.
    """

    kind: str
    stage: Stage
    number: int
    count: int
    share: float = 0.0
    seconds: float = 0.0
    left: float | None = None
    outcome: Outcome | None = None
    message: str = ""


Tell = Callable[[Event], None]


class Estimate:
    """Tells how long the remaining stages take.

    A stage takes as long as the same protocol took on average so far; a protocol without a stage behind it takes its
    usual share (``cost``), by the scale of those that were measured.

    Args:
        costs: usual share of each protocol.
        clock: seconds.
    """

    def __init__(
        self, costs: Mapping[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.costs = costs
        self.clock = clock
        self.took: dict[str, list[float]] = {}

    def note(self, protocol: str, seconds: float) -> None:
        """A stage of this protocol is over."""
        self.took.setdefault(protocol, []).append(seconds)

    def expected(self, protocol: str) -> float | None:
        """Seconds of one stage."""
        if own := self.took.get(protocol):
            return sum(own) / len(own)
        spent = sum(sum(values) for values in self.took.values())
        usual = sum(self.costs[name] * len(values) for name, values in self.took.items())
        return self.costs[protocol] * spent / usual if usual else None

    def left(
        self, waiting: Sequence[str], current: str = "", share: float = 0.0, running: float = 0.0
    ) -> float | None:
        """Seconds until the end.

        Args:
            waiting: protocols of the stages that have not begun.
            current: that of the stage that runs.
            share: of it that is done.
            running: seconds that it has run.
        """
        rest: list[float | None] = [self.expected(name) for name in waiting]
        if current:
            whole = running / share if share > 0.1 else self.expected(current)
            rest.append(None if whole is None else max(0.0, whole - running))
        return None if None in rest else sum(value for value in rest if value is not None)
