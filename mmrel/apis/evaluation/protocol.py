"""What a protocol is: a function from a frozen backbone and data to figures and pictures, and what is said of it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmrel.apis.evaluation.data import EvaluationData
    from mmrel.models.backbones import ViT

SUITES = ("quick", "full")
Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Measure:
    """A figure that stands in the table on top of the page.

    Attributes:
        key: among the outcome's figures.
        title: of its line.
        better: ``'high'``, ``'low'``, or ``''`` where neither is good in itself.
        digits: after the point.
        thumbnails: the same of thumbnails, if it has another key there.
    """

    key: str
    title: str
    better: str = "high"
    digits: int = 1
    thumbnails: str = ""


@dataclass(frozen=True)
class Shot:
    """A picture that a protocol drew.

    Attributes:
        name: what it shows; pictures of one name stand together, a network each.
        file: name within the desk's folder.
        caption: what there is to see.
        common: title of one that is the same for all networks, such as the photographs; it is shown once, first.
    """

    name: str
    file: str
    caption: str = ""
    common: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a protocol found.

    Attributes:
        figures: numbers by name; ``None`` where the network cannot have it.
        counts: of what was read: images, classes, sequences.
        pictures: drawn ones.
        tables: further numbers, by the table's title and the line's name.
        notes: what a reader must know.
    """

    figures: dict[str, float | None] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    pictures: tuple[Shot, ...] = ()
    tables: dict[str, dict[str, float | None]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Outcome":
        """The reverse; raises ``KeyError`` or ``TypeError`` where something is missing."""
        shots = tuple(Shot(**shot) for shot in content["pictures"])
        rest = {name: dict(content[name]) for name in ("figures", "counts", "tables")}
        return cls(**rest, pictures=shots, notes=tuple(content["notes"]))


@dataclass
class Desk:
    """Where a protocol works.

    Attributes:
        folder: of its pictures.
        prefix: what the names of its pictures begin with.
        device: to compute on.
        workers: processes that read images; 0: this one.
        memory: results that the protocols of one network share, such as features.
        advance: called with what is done and how much there is.
    """

    folder: Path
    prefix: str = ""
    device: str = "cpu"
    workers: int = 0
    memory: dict[Any, Any] = field(default_factory=dict)
    advance: Advance = lambda done, count: None

    def shot(self, name: str, caption: str = "", common: str = "") -> tuple[Path, Shot]:
        """A picture's file to write, and how the page finds it."""
        words = f"{name} {common}".replace("&", "and").split()
        file = f"{self.prefix}{'-'.join(words)}.png"
        return self.folder / file, Shot(name, file, caption, common)

    def recall(self, key: Any, make: Callable[[], Any]) -> Any:
        """What another protocol of this network has made, or make it."""
        if key not in self.memory:
            self.memory[key] = make()
        return self.memory[key]


Run = Callable[["ViT | None", "EvaluationData", Mapping[str, Any], Desk], Outcome]


@dataclass(frozen=True)
class Protocol:
    """One way to judge a backbone.

    Attributes:
        title: as a heading.
        about: how it is done, in a sentence or two.
        needs: the part of the data that it reads, or several of which one is enough.
        run: ``run(backbone, data, settings, desk) -> Outcome``, or the place of such a function,
            ``'package.module:name'``, imported when it is used. For thumbnails the backbone is ``None``.
        settings: by suite; a suite that is missing does not have this protocol.
        measures: its figures in the table on top.
        titles: of the columns in its own table, where a figure's name does not say it.
        baselines: what stands beside the checkpoints where it is asked for: ``'random'``, ``'thumbnails'``.
        cost: usual share of the time, for the estimate before anything is known.
        version: raised when the same settings give other figures than before.
    """

    title: str
    about: str
    needs: tuple[str, ...]
    run: Run | str
    settings: Mapping[str, Mapping[str, Any]]
    measures: tuple[Measure, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    baselines: tuple[str, ...] = ("random",)
    cost: float = 1.0
    version: int = 1

    def function(self) -> Run:
        """The function itself."""
        if not isinstance(self.run, str):
            return self.run
        module, _, name = self.run.partition(":")
        function: Run = getattr(import_module(module), name)
        return function
