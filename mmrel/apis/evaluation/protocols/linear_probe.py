"""A linear probe on frozen features as a protocol."""

from collections.abc import Mapping
from typing import Any

from mmrel.apis.evaluation.data import EvaluationData
from mmrel.apis.evaluation.protocol import Desk, Outcome
from mmrel.apis.evaluation.protocols.classification import Split, probed
from mmrel.evaluation.probes import ProbeResult, fit_linear_heads
from mmrel.models.backbones import ViT


def run(
    backbone: ViT | None, data: EvaluationData, settings: Mapping[str, Any], desk: Desk
) -> Outcome:
    """Top-1 accuracy in per cent at the best learning rate, ``top1_<feature>``, and at all of them."""

    def fit(split: Split, number: int, count: int) -> ProbeResult:
        epochs = settings["epochs"]
        return fit_linear_heads(*split.train, *split.val, epochs=epochs, progress=desk.advance)

    return probed(backbone, data, settings, desk, fit, "learning rate")
