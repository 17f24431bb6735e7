"""k-NN segmentation by patches, pixel by pixel and patch by patch, as its docstring says it."""

import math

from reference.knn import unit

Grid = list[list[int]]


def patch_shares(labels: Grid, patch: int, classes: int) -> list[tuple[list[float], bool]]:
    """Share of each class among the labelled pixels of each patch, and whether most pixels are labelled."""
    found = []
    for top in range(0, len(labels), patch):
        for left in range(0, len(labels[0]), patch):
            pixels = [labels[top + y][left + x] for y in range(patch) for x in range(patch)]
            labelled = [label for label in pixels if label >= 0]
            shares = [labelled.count(c) / max(1, len(labelled)) for c in range(classes)]
            found.append((shares, 2 * len(labelled) > len(pixels)))
    return found


def soft_vote(
    query: list[float],
    bank: list[list[float]],
    shares: list[list[float]],
    k: int,
    temperature: float,
) -> list[float]:
    """Mean of the shares of the k nearest, weighted by exp(cosine / temperature)."""
    scored = [
        (sum(a * b for a, b in zip(unit(query), unit(row), strict=True)), own)
        for row, own in zip(bank, shares, strict=True)
    ]
    scored.sort(key=lambda pair: -pair[0])
    weights = [math.exp(similarity / temperature) for similarity, _ in scored[:k]]
    return [
        sum(w * own[c] for w, (_, own) in zip(weights, scored[:k], strict=True)) / sum(weights)
        for c in range(len(shares[0]))
    ]


def enlarge(values: list[list[float]], height: int, width: int) -> list[list[float]]:
    """Bilinear, pixel centres at half numbers, borders repeated."""

    def place(position: int, size: int, count: int) -> tuple[int, int, float]:
        source = min(max((position + 0.5) * count / size - 0.5, 0.0), count - 1.0)
        low = int(source)
        return low, min(low + 1, count - 1), source - low

    found = []
    for y in range(height):
        top, bottom, down = place(y, height, len(values))
        row = []
        for x in range(width):
            left, right, across = place(x, width, len(values[0]))
            upper = values[top][left] * (1 - across) + values[top][right] * across
            lower = values[bottom][left] * (1 - across) + values[bottom][right] * across
            row.append(upper * (1 - down) + lower * down)
        found.append(row)
    return found


def best_classes(votes: list[list[float]], grid: tuple[int, int], size: tuple[int, int]) -> Grid:
    """The class of each pixel from the votes of each patch."""
    rows, cols = grid
    classes = range(len(votes[0]))
    maps = [
        enlarge([[votes[r * cols + c][own] for c in range(cols)] for r in range(rows)], *size)
        for own in classes
    ]
    return [
        [max(classes, key=lambda own: maps[own][y][x]) for x in range(size[1])]
        for y in range(size[0])
    ]


def class_iou(predicted: list[Grid], truth: list[Grid], classes: int) -> list[float]:
    """Intersection over union of each class over all images; NaN where it is nowhere."""
    pairs = [
        (p, t)
        for own, true in zip(predicted, truth, strict=True)
        for row, true_row in zip(own, true, strict=True)
        for p, t in zip(row, true_row, strict=True)
        if t >= 0
    ]
    found = []
    for own in range(classes):
        both = sum(p == own and t == own for p, t in pairs)
        either = sum(p == own or t == own for p, t in pairs)
        found.append(both / either if either else math.nan)
    return found
