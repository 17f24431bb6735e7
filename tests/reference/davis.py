"""Label propagation and the metrics of DAVIS-2017, written from the formulas: slow, one value after the other."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def propagate(
    features: Floats,
    first_labels: Floats,
    num_last_frames: int = 7,
    neighbourhood: int = 12,
    topk: int = 5,
    temperature: float = 0.1,
) -> Floats:
    """Soft labels ``(T, K, h, w)``, token by token and context by context."""
    frames, _, rows, cols = features.shape
    places = [(row, col) for row in range(rows) for col in range(cols)]
    unit = features / np.sqrt((features**2).sum(1, keepdims=True))
    known = [first_labels]
    for t in range(1, frames):
        past = [s for s in range(t) if s == 0 or s >= t - num_last_frames]
        labels = np.zeros_like(first_labels)
        for row, col in places:
            affinities, contexts = [], []
            for s in past:
                for y, x in places:
                    if neighbourhood and max(abs(y - row), abs(x - col)) > neighbourhood:
                        continue
                    similarity = (unit[s, :, y, x] * unit[t, :, row, col]).sum()
                    affinities.append(math.exp(similarity / temperature))
                    contexts.append(known[s][:, y, x])
            least = sorted(affinities)[-min(topk, len(affinities))]
            kept = [(a, c) for a, c in zip(affinities, contexts, strict=True) if a >= least]
            total = sum(a for a, _ in kept)
            labels[:, row, col] = sum(a / total * c for a, c in kept)
        known.append(labels)
    return np.stack(known)


def region_similarity(prediction: Bools, truth: Bools) -> float:
    """J of one frame."""
    union = (prediction | truth).sum()
    return float((prediction & truth).sum() / union) if union else 1.0


def boundary(mask: Bools) -> Bools:
    """Pixels that differ from a neighbour to the right, below or across; the frame's end has fewer neighbours."""
    height, width = mask.shape
    found = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            last_row, last_col = y == height - 1, x == width - 1
            steps = [(0, 1), (1, 0), (1, 1)]
            if last_row:
                steps = [(0, 1)]
            if last_col:
                steps = [(1, 0)]
            if last_row and last_col:
                steps = []
            found[y, x] = any(mask[y, x] != mask[y + dy, x + dx] for dy, dx in steps)
    return found


def contour_accuracy(prediction: Bools, truth: Bools, tolerance: float = 0.008) -> float:
    """F of one frame, by all distances between two boundaries."""
    radius = math.ceil(tolerance * math.sqrt(sum(side**2 for side in truth.shape)))
    own, other = np.argwhere(boundary(prediction)), np.argwhere(boundary(truth))
    if not len(own) or not len(other):
        precision = 0.0 if len(own) else 1.0
        recall = 0.0 if len(other) else 1.0
    else:
        near = ((own[:, None] - other[None]) ** 2).sum(-1) <= radius**2
        precision, recall = float(near.any(1).mean()), float(near.any(0).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def statistics(values: Floats) -> tuple[float, float, float]:
    """Mean, recall and decay."""
    borders = [round(1 + (len(values) - 1) * k / 4 + 1e-10) - 1 for k in range(5)]
    quarters = [values[borders[k] : borders[k + 1] + 1] for k in range(4)]
    recall = sum(1 for value in values if value > 0.5) / len(values)
    return (
        float(np.nanmean(values)),
        recall,
        float(np.nanmean(quarters[0]) - np.nanmean(quarters[3])),
    )
