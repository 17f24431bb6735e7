"""Mean, spread and paired differences of the evidence's figures, from its JSON files."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy import stats

from mmrel.utils.files import read_json_object

LEVEL = 0.95
Key = TypeVar("Key")


@dataclass(frozen=True)
class Summary:
    """What an arm reached in one judge.

    Attributes:
        mean: over seeds.
        deviation: the sample's standard deviation, n - 1 in its denominator; NaN for one seed.
        count: seeds.
    """

    mean: float
    deviation: float
    count: int


@dataclass(frozen=True)
class Difference:
    """How far an arm is ahead of another, seed by seed.

    Attributes:
        mean: of the differences.
        half: of the width of Student's 95 % interval of that mean; infinite for one seed.
        count: of the pairs.
    """

    mean: float
    half: float
    count: int

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out zero."""
        return abs(self.mean) > self.half


def summarise(values: list[float]) -> Summary:
    """Of one value per seed.

    Raises:
        ValueError: there is none.
    """
    if not values:
        raise ValueError("no values; give one per seed")
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Summary(float(np.mean(values)), deviation, len(values))


def compare(own: Mapping[Key, float], other: Mapping[Key, float]) -> Difference | None:
    """Paired by key, such as the seed; ``None`` if no key is in both.

    Student's t: mean difference plus or minus t(n - 1) times its standard error.
    """
    values = [own[key] - other[key] for key in own if key in other]
    if not values:
        return None
    count = len(values)
    if count == 1:
        return Difference(values[0], math.inf, 1)
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    return Difference(
        float(np.mean(values)), float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error, count
    )


def read_results(folder: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """The files of a data set, by arm and seed; figures of fine-tunings are added to those of their run."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    contents = [read_json_object(path) or {} for path in sorted(folder.glob("*.json"))]
    for content in sorted(contents, key=lambda one: "task" in one["inputs"]):
        arm, seed = content["inputs"]["arm"], content["inputs"]["seed"]
        runs = found.setdefault(arm, {})
        if "task" not in content["inputs"]:
            runs[seed] = content
            continue
        # An arm may have nothing but fine-tunings.
        run = runs.setdefault(seed, {**content, "figures": {}, "curves": {}, "costs": {}})
        run["figures"].update(content["figures"])
    return found


def values_of(runs: Mapping[int, Mapping[str, Any]], figure: str) -> dict[int, float]:
    """A figure by seed, where it is there."""
    return {
        seed: run["figures"][figure]
        for seed, run in sorted(runs.items())
        if figure in run["figures"]
    }
