"""Agreement of clusters with classes on tables that can be worked out by hand."""

import itertools
import math

import numpy as np
import pytest

from mmrel.evaluation.clusters import cluster_agreement

pytest.importorskip("sklearn")

FOUND, TRUTH = [0, 0, 0, 1, 1, 2], [5, 5, 7, 7, 7, 5]
"""Table (clusters x classes 5, 7): [[2, 1], [0, 2], [1, 0]]."""


def test_agreement__perfect_whatever_the_numbers() -> None:
    found = cluster_agreement([9, 9, 2, 2, 4], np.array([0, 0, 1, 1, 2]))
    assert [found.accuracy, found.nmi, found.ari, found.fmi] == pytest.approx([100] * 4)


def test_agreement__by_hand() -> None:
    found = cluster_agreement(FOUND, TRUTH)
    assert found.accuracy == pytest.approx(100 * 4 / 6), "0 is 5, 1 is 7, and 2 is nothing"
    both, rows, columns, pairs = 1 + 1, 3 + 1, 3 + 3, 15
    assert found.fmi == pytest.approx(100 * both / math.sqrt(rows * columns))
    chance = rows * columns / pairs
    assert found.ari == pytest.approx(100 * (both - chance) / ((rows + columns) / 2 - chance))
    table = np.array([[2, 1], [0, 2], [1, 0]]) / 6
    p, q = table.sum(1, keepdims=True), table.sum(0, keepdims=True)
    inside = table > 0
    mutual = (table[inside] * np.log((table / (p * q))[inside])).sum()
    entropies = -(p * np.log(p)).sum() - (q * np.log(q)).sum()
    assert found.nmi == pytest.approx(100 * 2 * mutual / entropies)


@pytest.mark.parametrize(("clusters", "classes"), [(3, 5), (4, 4), (5, 3)])
def test_accuracy__no_matching_is_better(clusters: int, classes: int) -> None:
    rng = np.random.default_rng(clusters)
    found, truth = rng.integers(0, clusters, 60), rng.integers(0, classes, 60)
    best = 0.0
    slots = list(range(classes)) + [-1] * clusters
    for chosen in set(itertools.permutations(slots, clusters)):
        best = max(best, float(np.mean(np.array(chosen)[found] == truth)))
    assert cluster_agreement(found, truth).accuracy == pytest.approx(100 * best)


def test_agreement__one_cluster_tells_nothing() -> None:
    found = cluster_agreement([3] * 6, TRUTH)
    assert (found.nmi, found.ari) == pytest.approx((0, 0)) and found.accuracy == 50


@pytest.mark.parametrize(
    ("clusters", "labels", "message"),
    [
        ([0, 1], [0], "2 clusters and 1 labels"),
        ([], [], r"clusters have shape \(0,\)"),
        ([0.5, 1.0], [0, 1], "float64; wanted"),
        ([[0], [1]], [0, 1], r"shape \(2, 1\)"),
        ([0, 1], ["a", "b"], "labels have shape"),
    ],
)
def test_agreement__bad_input(clusters: list, labels: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cluster_agreement(clusters, labels)
