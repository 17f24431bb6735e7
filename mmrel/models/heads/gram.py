"""Gram anchoring (DINOv3, arXiv 2508.10104, section 4), a relation between patches that is held instead of learnt."""

from typing import ClassVar

from torch import Tensor

from mmrel.models.heads.base import Head
from mmrel.models.outputs import RelationTokens
from mmrel.ops.gram import gram_anchoring_loss
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch


@MODELS.register_module()
class GramAnchoringHead(Head):
    """Similarities between the patches of a global crop, the student's against those of an early teacher.

    Args:
        neck: name of an :class:`~mmrel.models.necks.early_patches.EarlyPatches`.
        loss_weight: factor of the loss in the total, applied by the algorithm; DINOv3 takes 2.
        init_cfg: MMEngine's initialisation config.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"early_teacher"})
    terms = ("loss_gram",)

    def __init__(
        self, neck: str = "gram", loss_weight: float = 2.0, init_cfg: dict | None = None
    ) -> None:
        super().__init__(neck, loss_weight, init_cfg)

    def forward(
        self, student: RelationTokens, teacher: RelationTokens | None, views: ViewBatch
    ) -> dict[str, Tensor]:
        """Loss of one batch.

        Args:
            student: patch tokens of the global crops, as the student sees them (with hidden patches in iBOT).
            teacher: those of the early teacher, which sees whole crops; ``None`` while it does not take part yet.
            views: the batch.

        Returns:
            ``loss_gram``, which is 0 without the early teacher.
        """
        if teacher is None:
            return {"loss_gram": views.global_crops.new_zeros(())}
        return {"loss_gram": gram_anchoring_loss(student.global_tokens, teacher.global_tokens)}
