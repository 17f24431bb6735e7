"""Weighted k-NN as DINO's protocol says it, one test image at a time (arXiv 2104.14294, section 4.1)."""

import math


def knn_votes(
    train: list[list[float]], labels: list[int], query: list[float], k: int, temperature: float
) -> dict[int, float]:
    """Votes of each class for one query."""
    similarities = [
        (sum(a * b for a, b in zip(unit(row), unit(query), strict=True)), label)
        for row, label in zip(train, labels, strict=True)
    ]
    similarities.sort(key=lambda pair: -pair[0])
    votes: dict[int, float] = {}
    for similarity, label in similarities[:k]:
        votes[label] = votes.get(label, 0.0) + math.exp(similarity / temperature)
    return votes


def unit(row: list[float]) -> list[float]:
    """The row divided by its length."""
    length = math.sqrt(sum(value * value for value in row))
    return [value / length for value in row]


def leave_one_out(
    features: list[list[float]], labels: list[int], k: int, temperature: float
) -> list[int]:
    """The class of most votes for each sample, by the others."""
    found = []
    for position, query in enumerate(features):
        others = [row for i, row in enumerate(features) if i != position]
        names = [label for i, label in enumerate(labels) if i != position]
        votes = knn_votes(others, names, query, k, temperature)
        found.append(max(votes, key=lambda label: votes[label]))
    return found
