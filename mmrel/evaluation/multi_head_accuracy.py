"""Accuracy of each of several classifiers on the same images, and of the best of them."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from numpy.typing import NDArray
from torch import Tensor

from mmrel.registry import METRICS


@METRICS.register_module()
class MultiHeadAccuracy(BaseMetric):
    """Top-k accuracy, in per cent, of every head of ``mmrel.LinearProbeClassifier``.

    The best head is the one with the highest top-1 on these very images, as DINOv2's and iBOT's sweeps report it: the
    figure is chosen on the validation set and a little too high for it, which its name and the log say.

    Reported are, under ``prefix``: ``best_on_val_top1`` first (so that ``save_best='auto'`` follows it), the other k of
    the same head, ``best_head`` (its number), and ``<head>/top1`` and so on of every head.

    Args:
        topk: the k.
        collect_device: as in ``BaseMetric``.
        prefix: of the reported names.

    Raises:
        ValueError: ``topk`` is empty or has a number below 1 or above that of the classes, or the predictions are not
            those of several heads.
    """

    default_prefix = "probe"

    def __init__(
        self, topk: Sequence[int] = (1, 5), collect_device: str = "cpu", prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not topk or min(topk) < 1:
            raise ValueError(f"topk is {tuple(topk)}; give numbers from 1 on, usually (1, 5)")
        self.topk = tuple(sorted({1, *topk}))
        self.names: tuple[str, ...] = ()

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep for each image which head has it right: bool ``(heads, len(topk))``.

        Args:
            data_batch: not used.
            data_samples: with ``head_scores`` ``(heads, K)``, ``head_names`` and ``gt_label``.
        """
        if missing := {"head_scores", "gt_label"} - data_samples[0].keys():
            raise ValueError(
                f"the predictions have no {' and no '.join(sorted(missing))}; MultiHeadAccuracy is for labelled images "
                "and mmrel.LinearProbeClassifier. For one classifier take mmpretrain's Accuracy"
            )
        scores = torch.stack([sample["head_scores"] for sample in data_samples])
        labels = torch.cat([sample["gt_label"] for sample in data_samples]).to(scores.device)
        if self.topk[-1] > scores.shape[-1]:
            raise ValueError(
                f"top-{self.topk[-1]} accuracy of {scores.shape[-1]} classes says nothing; give smaller topk to "
                "MultiHeadAccuracy, in val_evaluator and test_evaluator"
            )
        default = tuple(f"head{i}" for i in range(scores.shape[1]))
        self.names = tuple(data_samples[0].get("head_names", default))
        # Only this is kept: the scores of 52 heads for all of ImageNet's images would take 10 GB.
        # As arrays: ranks exchange results pickled, and tensors would be read as checkpoints are.
        self.results.extend(top_hits(scores, labels, self.topk).cpu().numpy())

    def compute_metrics(self, results: list[NDArray[np.bool_]]) -> dict[str, float]:
        """The accuracies over all images.

        Args:
            results: of :meth:`process`, from all ranks.
        """
        percent = 100 * np.stack(results).mean(axis=0)
        best = int(percent[:, 0].argmax())
        metrics = self._row("best_on_val_", percent[best])
        metrics["best_head"] = float(best)
        for name, row in zip(self.names, percent, strict=True):
            metrics |= self._row(f"{name}/", row)
        self._announce(best, percent)
        return metrics

    def _row(self, name: str, values: NDArray[np.float64]) -> dict[str, float]:
        return {f"{name}top{k}": float(v) for k, v in zip(self.topk, values, strict=True)}

    def _announce(self, best: int, percent: NDArray[np.float64]) -> None:
        count = len(self.names)
        if count > 1:
            print_log(
                f"best of {count} heads: {self.names[best]} (number {best}), top-1 {percent[best, 0]:.2f} %; it was "
                "chosen on these validation images",
                "current",
                logging.INFO,
            )


def top_hits(scores: Tensor, labels: Tensor, topk: Sequence[int]) -> Tensor:
    """Whether the label is among the k highest scores; where those are not finite, it is not.

    Args:
        scores: ``(B, ..., K)``.
        labels: long ``(B,)``.
        topk: the k, each at most K.

    Returns:
        Bool ``(B, ..., len(topk))``.
    """
    values, ranked = scores.topk(max(topk), dim=-1)
    wanted = labels.view(-1, *[1] * (scores.ndim - 1))
    right = (ranked == wanted) & values.isfinite()
    return torch.stack([right[..., :k].any(dim=-1) for k in topk], dim=-1)
