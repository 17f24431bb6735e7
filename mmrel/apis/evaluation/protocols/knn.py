"""Weighted k-NN as a protocol."""

from collections.abc import Mapping
from typing import Any

from mmrel.apis.evaluation.data import EvaluationData
from mmrel.apis.evaluation.protocol import Desk, Outcome
from mmrel.apis.evaluation.protocols.classification import describe_counts, labelled_features
from mmrel.evaluation.knn import knn_accuracy
from mmrel.models.backbones import ViT


def run(
    backbone: ViT | None, data: EvaluationData, settings: Mapping[str, Any], desk: Desk
) -> Outcome:
    """Top-1 accuracy in per cent, ``k<k>_<feature>``; k that the bank has not are left out."""
    features = labelled_features(backbone, data, settings, desk)
    counts = describe_counts(features)
    numbers = [k for k in settings["k"] if k <= counts["training images"]]
    figures: dict[str, float | None] = {}
    for name, split in features.items():
        found = knn_accuracy(split.train, split.val, numbers, settings["temperature"])
        for k in numbers:
            figures[f"k{k}_{name}"] = found[f"top1_k{k}"]
    notes = [f"k = {k} is more than the training images" for k in settings["k"] if k not in numbers]
    return Outcome(figures, counts, notes=tuple(notes))
