"""How clusters that were found without labels agree with classes: iBOT's unsupervised classification.

iBOT (Zhou et al., ICLR 2022, arXiv 2111.07832) takes the largest output of the teacher's head for the cluster of an
image, and reports accuracy after the best matching of clusters to classes, adjusted Rand index (ARI), normalised
mutual information (NMI, arithmetic mean) and the Fowlkes-Mallows index (FMI). Needs scikit-learn, which brings SciPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class ClusterAgreement:
    """Four measures of agreement; a larger value is better, 100 is perfect.

    Attributes:
        accuracy: in per cent, after matching each cluster to at most one class, and each class to at most one cluster,
            by the Hungarian method.
        nmi: normalised mutual information times 100.
        ari: adjusted Rand index times 100; 0 is chance, and it can be negative.
        fmi: Fowlkes-Mallows index times 100.
    """

    accuracy: float
    nmi: float
    ari: float
    fmi: float


def cluster_agreement(clusters: ArrayLike, labels: ArrayLike) -> ClusterAgreement:
    """Compare the clusters of N images with their classes.

    Args:
        clusters: N whole numbers; any numbers, in any order.
        labels: N whole numbers.

    Raises:
        ValueError: the lengths differ, there are none, or they are no whole numbers.
        ModuleNotFoundError: scikit-learn is missing.
    """
    found, truth = _whole_numbers(clusters, "clusters"), _whole_numbers(labels, "labels")
    if len(found) != len(truth):
        raise ValueError(
            f"there are {len(found)} clusters and {len(truth)} labels; wanted one of each per image"
        )
    try:
        from sklearn import metrics
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Comparing clusters needs scikit-learn; pip install scikit-learn, then run again."
        ) from error
    return ClusterAgreement(
        accuracy=100 * matched_accuracy(found, truth),
        nmi=100 * float(metrics.normalized_mutual_info_score(truth, found)),
        ari=100 * float(metrics.adjusted_rand_score(truth, found)),
        fmi=100 * float(metrics.fowlkes_mallows_score(truth, found)),
    )


def matched_accuracy(clusters: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Share of images whose cluster is matched to their class, with the matching that makes it largest.

    Clusters and classes may differ in number; what is left over is matched to nothing, and its images count as wrong.

    Args:
        clusters: ``(N,)``.
        labels: ``(N,)``.
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = (np.unique(own, return_inverse=True)[1] for own in (clusters, labels))
    table = np.zeros((rows.max() + 1, columns.max() + 1), dtype=np.int64)
    np.add.at(table, (rows, columns), 1)
    matched = linear_sum_assignment(table, maximize=True)
    return float(table[matched].sum() / len(labels))


def _whole_numbers(values: ArrayLike | Sequence[int], name: str) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} have shape {array.shape} and type {array.dtype}; wanted (N,) whole numbers, at least one"
        )
    return array.astype(np.int64)
