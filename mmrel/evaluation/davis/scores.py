"""From J and F of each frame to the figures of a data set, as DAVIS-2017 counts them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmrel.evaluation.davis.masks import Mask, without_void
from mmrel.evaluation.davis.metrics import contour_accuracy, region_similarity

BINS = 4
LEAST_FRAMES = 3


class Statistics(NamedTuple):
    """What is told of one object's J or F over its frames.

    Attributes:
        mean: over the frames.
        recall: share of the frames above .5.
        decay: mean of the first quarter less mean of the last.
    """

    mean: float
    recall: float
    decay: float


@dataclass(frozen=True)
class ObjectScore:
    """Figures of one object of a sequence, in [0, 1]; the decays in [-1, 1].

    Attributes:
        sequence: its name.
        number: of the object, from 1 on.
        j_mean: region similarity, mean over the frames that count.
        j_recall: share of these frames with more than .5.
        j_decay: mean of the first quarter of them less mean of the last.
        f_mean: the same of the contour accuracy.
        f_recall: likewise.
        f_decay: likewise.
    """

    sequence: str
    number: int
    j_mean: float
    j_recall: float
    j_decay: float
    f_mean: float
    f_recall: float
    f_decay: float

    @property
    def jf_mean(self) -> float:
        """(J + F) / 2."""
        return (self.j_mean + self.f_mean) / 2


FIGURES = ("j_mean", "j_recall", "j_decay", "f_mean", "f_recall", "f_decay")


@dataclass(frozen=True)
class DavisResult:
    """Figures of a data set: means over all objects of all sequences, in [0, 1]; the decays in [-1, 1].

    Attributes:
        j_mean: region similarity.
        j_recall: its recall.
        j_decay: its decay.
        f_mean: contour accuracy.
        f_recall: its recall.
        f_decay: its decay.
        jf_mean: (J + F) / 2, the figure that papers rank by.
        per_object: by ``<sequence>_<number of the object>``.
    """

    j_mean: float
    j_recall: float
    j_decay: float
    f_mean: float
    f_recall: float
    f_decay: float
    jf_mean: float
    per_object: dict[str, ObjectScore]

    def per_sequence(self) -> "dict[str, DavisResult]":
        """The same of each sequence alone, in the order of the list."""
        by_name: dict[str, list[ObjectScore]] = {}
        for score in self.per_object.values():
            by_name.setdefault(score.sequence, []).append(score)
        return {name: summarise(scores) for name, scores in by_name.items()}

    def figures(self) -> dict[str, float]:
        """The overall figures by name."""
        return {name: getattr(self, name) for name in ("jf_mean", *FIGURES)}

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            **self.figures(),
            "per_sequence": {name: own.figures() for name, own in self.per_sequence().items()},
            "per_object": {name: asdict(score) for name, score in self.per_object.items()},
        }


def statistics(values: NDArray[np.float64]) -> Statistics:
    """Mean, recall and decay of one object.

    Args:
        values: J or F of the frames that count, ``(T,)``, T at least 1. A frame that is NaN is a miss for the recall,
            and is left out of the means.
    """
    borders = np.round(np.linspace(1, len(values), BINS + 1) + 1e-10).astype(int) - 1
    # Inclusive at both ends: neighbouring quarters share a frame.
    first, last = values[: borders[1] + 1], values[borders[-2] :]
    return Statistics(_mean(values), float((values > 0.5).mean()), _mean(first) - _mean(last))


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def score_sequence(name: str, prediction: Mask, truth: Mask) -> list[ObjectScore]:
    """Figures of each object of a sequence.

    The objects are those of the first annotated frame. The first and the last frame do not count. Of several objects,
    the prediction may lack some; they count as empty.

    Args:
        name: of the sequence.
        prediction: object numbers, uint8 ``(T, H, W)``.
        truth: the same; 255 (void) is background.

    Raises:
        ValueError: shapes that differ, fewer than three frames, no object in the first annotation, or more objects
            predicted than annotated.
    """
    if prediction.shape != truth.shape or truth.ndim != 3:
        raise ValueError(
            f"sequence {name}: the masks are {prediction.shape} and the annotation is {truth.shape}; wanted (T, H, W) "
            "twice"
        )
    if len(truth) < LEAST_FRAMES:
        raise ValueError(
            f"sequence {name} has {len(truth)} frames; the first and the last do not count, so give {LEAST_FRAMES} or "
            "more"
        )
    predicted, true = without_void(prediction), without_void(truth)
    count, found = int(true[0].max()), int(predicted.max())
    if not count:
        raise ValueError(f"sequence {name}: the first annotation holds no object, only background")
    if found > count:
        raise ValueError(
            f"sequence {name}: object {found} is predicted, but only {count} are annotated in the first frame; number "
            "the objects as the first annotation does"
        )
    inner = slice(1, -1)
    return [
        _object_score(name, k, predicted[inner] == k, true[inner] == k) for k in range(1, count + 1)
    ]


def _object_score(name: str, number: int, predicted: NDArray, true: NDArray) -> ObjectScore:
    similarity, accuracy = region_similarity(predicted, true), contour_accuracy(predicted, true)
    return ObjectScore(name, number, *statistics(similarity), *statistics(accuracy))


def summarise(scores: Sequence[ObjectScore]) -> DavisResult:
    """Means over objects.

    Raises:
        ValueError: there are none.
    """
    if not scores:
        raise ValueError("there are no objects to score; the list of sequences is empty")
    means = {name: float(np.mean([getattr(s, name) for s in scores])) for name in FIGURES}
    return DavisResult(
        **means,
        jf_mean=(means["j_mean"] + means["f_mean"]) / 2,
        per_object={f"{score.sequence}_{score.number}": score for score in scores},
    )
