"""A linear probe on frozen features as a protocol."""

from collections.abc import Mapping
from typing import Any

from mmrel.apis.evaluation.data import EvaluationData
from mmrel.apis.evaluation.protocol import Desk, Outcome
from mmrel.apis.evaluation.protocols.classification import (
    FEATURES,
    describe_counts,
    labelled_features,
)
from mmrel.models.backbones import ViT


def run(
    backbone: ViT | None, data: EvaluationData, settings: Mapping[str, Any], desk: Desk
) -> Outcome:
    """Top-1 accuracy in per cent at the best learning rate, ``top1_<feature>``, and at all of them."""
    from mmrel.evaluation.probes import fit_linear_heads

    features = labelled_features(backbone, data, settings, desk)
    figures: dict[str, float | None] = {}
    tables: dict[str, dict[str, float | None]] = {}
    for name, split in features.items():
        result = fit_linear_heads(
            *split.train, *split.val, epochs=settings["epochs"], progress=desk.advance
        )
        figures[f"top1_{name}"] = result.best
        tables[f"Accuracy by learning rate, {FEATURES[name]}"] = {
            f"{rate:g}": accuracy for rate, accuracy in result.accuracy.items()
        }
    return Outcome(figures, describe_counts(features), tables=tables)
