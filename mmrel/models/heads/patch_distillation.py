"""Self-distillation of every patch from its neighbours (SelfPatch, CVPR 2022, arXiv 2206.07990, section 3)."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from mmrel.models.heads.base import of_uniform
from mmrel.models.heads.prototype import PrototypeHead
from mmrel.models.outputs import AggregatedTokens
from mmrel.ops.prototypes import mean_logits, prototype_cross_entropy
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch


@MODELS.register_module()
class PatchDistillationHead(PrototypeHead):
    """The student predicts, from each patch, the teacher's distribution on that patch's neighbours.

    With v a view that both networks see, i one of its N_v patches, c the centre::

        loss = mean over v of mean over i of  - sum_k softmax((t_vi - c) / tau_t)_k log softmax(s_vi / tau_s)_k

    All crops take part, also the local ones, each compared with itself; a view has the same weight whatever its
    number of patches. The centre averages all patches alike.

    Args:
        out_channels: K2, the number of prototypes.
        loss_weight: factor of the loss in the total, 0.1 in the official code.
        **kwargs: see :class:`PrototypeHead`.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"teacher_local"})
    terms = ("loss_patch",)
    reads = "patch"

    def __init__(self, out_channels: int, loss_weight: float = 0.1, **kwargs: Any) -> None:
        super().__init__(out_channels, loss_weight=loss_weight, **kwargs)

    def forward(
        self, student: AggregatedTokens, teacher: AggregatedTokens, views: ViewBatch
    ) -> dict[str, Tensor]:
        """Loss of one batch.

        Args:
            student: patch logits of all crops.
            teacher: patch logits of the same crops.
            views: the batch.

        Returns:
            ``loss_patch``, and ``stat/patch_of_uniform``, the loss as a share of ln K2.
        """
        own, target = student.patches, teacher.patches
        if own.counts != target.counts:
            raise ValueError(
                f"the student has views of {own.counts} patches and the teacher of {target.counts}; each view is "
                "compared with itself, so the teacher must see all crops too (needs 'teacher_local')"
            )
        rows = [views.batch_size * count for count in own.counts]
        weights = [self.center.value.new_full((n,), 1 / (n * len(rows))) for n in rows]
        loss = prototype_cross_entropy(
            own.features,
            own.prototypes,
            target.features,
            target.prototypes,
            torch.cat(weights),
            self.student_temperature,
            self.teacher_temperature.value,
            self.center.value,
        )
        mean = mean_logits(target.features, target.prototypes)
        self.center.accumulate(mean, len(target.features))
        uniform = math.log(self.out_channels)
        return {"loss_patch": loss, "stat/patch_of_uniform": of_uniform(loss, uniform)}
