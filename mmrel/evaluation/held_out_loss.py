"""The pretext loss on images that are not trained on: whether pretraining still learns or begins to memorise."""

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric

from mmrel.registry import METRICS


@METRICS.register_module()
class HeldOutLoss(BaseMetric):
    """Mean over the validation images of the losses that ``mmrel.RelViT`` returns in mode ``'predict'``.

    Gives ``held_out/total`` and, of each head, for instance ``held_out/rel`` (the loss ``loss_rel``) and
    ``held_out/acc_rel``. "loss" is left out of the names, since MMEngine would log the mean of the last ten
    evaluations for those. ``save_best='held_out/total', rule='less'`` of the checkpoint hook keeps the best one. With
    several processes, the few images that the sampler repeats to give each equally many count twice.

    Args:
        collect_device: as MMEngine's ``BaseMetric``.
        prefix: the same.
    """

    default_prefix = "held_out"

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Note the number of images and the mean values of each batch."""
        for values in data_samples:
            named = {_log_name(name): float(value) for name, value in values.items()}
            self.results.append((named.pop("num_images"), named))

    def compute_metrics(self, results: list[tuple[float, dict[str, float]]]) -> dict[str, float]:
        """Means over images, from those over batches."""
        total = sum(number for number, _ in results)
        names = results[0][1]
        return {n: sum(number * values[n] for number, values in results) / total for n in names}


def _log_name(name: str) -> str:
    return name.removeprefix("stat/").removeprefix("loss_")
