"""Self-distillation of hidden patches (iBOT, arXiv 2111.07832, eq. 2)."""

from typing import ClassVar

from torch import Tensor

from mmrel.models.heads.prototype import PrototypeHead
from mmrel.models.outputs import ProjectedTokens
from mmrel.ops.distillation import soft_cross_entropy
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch


@MODELS.register_module()
class MaskedDistillationHead(PrototypeHead):
    """The student predicts, for each patch that it does not see, the teacher's distribution on it.

    Per global crop the cross-entropies are averaged over its hidden patches; crops without a hidden patch
    contribute 0 and still count in the mean over crops, as in the official code.

    The arguments are :class:`PrototypeHead`'s; the centre averages *all* patches of the teacher, hidden or not.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"masks"})
    terms = ("loss_patch",)
    reads = "patch"

    def forward(
        self, student: ProjectedTokens, teacher: ProjectedTokens, views: ViewBatch
    ) -> dict[str, Tensor]:
        """Loss of one batch.

        Args:
            student: logits ``(M, K2)`` at the hidden patches.
            teacher: logits ``(M, K2)`` at the same patches, and their mean ``(1, K2)`` over all patches.
            views: the batch, with ``mask_weights (M,)``.

        Returns:
            ``loss_patch``.
        """
        if student.patches is None or teacher.patches is None or teacher.patch_mean is None:
            raise ValueError(f"neck {self.neck!r} gave no patch logits; build it with patches=True")
        assert views.mask_weights is not None, (
            "the projection already refused a batch without masks"
        )
        losses = soft_cross_entropy(
            student.patches,
            teacher.patches,
            self.student_temperature,
            self.teacher_temperature.value,
            self.center.value,
        )
        self.center.accumulate(teacher.patch_mean, teacher.patch_rows)
        num_crops = views.num_global * views.batch_size
        return {"loss_patch": (losses * views.mask_weights.to(losses.dtype)).sum() / num_crops}
