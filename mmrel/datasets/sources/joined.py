"""Several sources as one, and how often an epoch shows the images of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

from mmrel.datasets.sources.base import NO_CLASS, Classes, ImageSource, sorted_classes
from mmrel.utils.errors import UsageError

Weights = Sequence[float] | Mapping[str, float]
GOLDEN_SHARE = 0.6180339887498949
SEARCHED = 200


class JoinedSource(ImageSource):
    """The images of several sources, one after the other.

    Args:
        sources: one or more.
    """

    def __init__(self, sources: Sequence[ImageSource]) -> None:
        super().__init__(" and ".join(source.root for source in sources))
        self.sources = tuple(sources)
        self.plain_files = all(source.plain_files for source in sources)
        self.ends = np.cumsum([len(source) for source in sources])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def name(self, index: int) -> str:
        """The number of the source, from 0, and the name in it."""
        source, position = self.place(index)
        return f"{source}/{self.sources[source].name(position)}"

    def path(self, index: int) -> str:
        """See :class:`ImageSource`."""
        source, position = self.place(index)
        return self.sources[source].path(position)

    def read(self, index: int) -> bytes:
        """See :class:`ImageSource`."""
        source, position = self.place(index)
        return self.sources[source].read(position)

    def size(self, index: int) -> bytes:
        """See :class:`ImageSource`."""
        source, position = self.place(index)
        return self.sources[source].size(position)

    def classes(self) -> Classes:
        """The classes of all, matched by name."""
        parts = [source.classes() for source in self.sources]
        numbers = {part.numbers for part in parts if part.names}
        found: dict[str, int] = {}
        ids = []
        for part in parts:
            own = [found.setdefault(name, len(found)) for name in part.names]
            ids.append(np.array([*own, NO_CLASS], np.int32)[part.ids])
        return sorted_classes(found, np.concatenate(ids), numbers == {True})

    def with_ending(self, endings: Sequence[str]) -> NDArray[np.int64]:
        """See :class:`ImageSource`."""
        starts = [0, *self.ends[:-1]]
        found = [
            s.with_ending(endings) + start for s, start in zip(self.sources, starts, strict=True)
        ]
        return np.concatenate(found)

    def announce(self, lying_loose: int = 0) -> None:
        """See :class:`ImageSource`."""
        for source in self.sources:
            source.announce()
        super().announce(lying_loose)

    def source_of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which sources have the images at some positions."""
        return np.searchsorted(self.ends, positions, side="right")

    def place(self, index: int) -> tuple[int, int]:
        """Which source has an image, and where."""
        source = int(np.searchsorted(self.ends, index, side="right"))
        return source, index - (int(self.ends[source - 1]) if source else 0)


@dataclass(frozen=True)
class Shares:
    """Which images an epoch shows, where roots have weights.

    An image of a root with weight w is shown w times an epoch. With a weight that is no whole number the epoch shows
    some of the images once more than others, and the next epochs go on with those whose turn it is: after any number
    of epochs e, each image of the root has been shown ``floor`` or ``ceil`` of ``e * places / counts`` times. Which
    image a place shows is a function of the epoch and the place alone.

    Attributes:
        counts: images of each root.
        places: of each root in an epoch.
    """

    counts: tuple[int, ...]
    places: tuple[int, ...]

    @classmethod
    def of(cls, counts: Sequence[int], weights: Sequence[float]) -> "Shares":
        """``round(weight * count)`` places for each root, but at least one."""
        places = [
            max(1, round(w * n)) if w > 0 else 0 for n, w in zip(counts, weights, strict=True)
        ]
        return cls(tuple(counts), tuple(places))

    @property
    def total(self) -> int:
        """Places of an epoch: its length."""
        return sum(self.places)

    def image(self, epoch: int, place: int) -> int:
        """The position, among the images of all roots, of what a place shows.

        Args:
            epoch: from 0.
            place: in ``[0, total)``.
        """
        first = 0
        for count, places in zip(self.counts, self.places, strict=True):
            if place < places:
                return first + _turn(epoch * places + place, count, places)
            first, place = first + count, place - places
        raise IndexError(f"an epoch has {self.total} places")


def _turn(turn: int, count: int, places: int) -> int:
    """Who is at the turn: all, one after the other, in steps that spread what one epoch shows over the root."""
    if places % count == 0:
        return turn % count
    return turn * _step(count) % count


@lru_cache(maxsize=64)
def _step(count: int) -> int:
    """A step that meets everything before it comes back, and spreads any few of its places evenly.

    It has no common divisor with ``count``, and among such near the golden share of it the continued fraction of the
    share has the smallest numbers, on which the evenness depends (Niederreiter 1992, theorem 3.4).
    """
    golden = max(1, round(count * GOLDEN_SHARE))
    near = range(max(1, golden - SEARCHED), min(count, golden + SEARCHED) + 1)
    steps = [step for step in near if gcd(step, count) == 1] or [1]
    return min(steps, key=lambda step: max(_continued_fraction(count, step)))


def _continued_fraction(a: int, b: int) -> list[int]:
    """Of ``a / b``: the whole numbers that Euclid's algorithm gives."""
    found = []
    while b:
        found.append(a // b)
        a, b = b, a % b
    return found


def weights_of(weights: Weights, roots: Sequence[str]) -> list[float]:
    """One weight for each root.

    Args:
        weights: a number for each, or some by their roots; others then have 1.
        roots: as the user gave them.

    Raises:
        UsageError: they do not fit the roots, or are no positive numbers.
    """
    if isinstance(weights, Mapping):
        if unknown := sorted(set(weights) - set(roots)):
            raise UsageError(
                f"weights name {unknown[0]!r}, which is none of the data_root {list(roots)}; write the roots alike"
            )
        given = [weights.get(root, 1.0) for root in roots]
    else:
        given = list(weights)
    good = all(isinstance(w, (int, float)) and 0 <= w < float("inf") for w in given)
    if len(given) != len(roots) or not good or not any(given):
        raise UsageError(
            f"weights is {weights}; give one number for each of the {len(roots)} data_root, 0 or more, not all 0: how "
            "often an epoch shows each image of it"
        )
    return [float(weight) for weight in given]
