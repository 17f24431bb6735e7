"""Self-distillation of the class token across views (DINO, arXiv 2104.14294, eq. 3)."""

import math

import torch
from torch import Tensor

from mmrel.models.heads.prototype import PrototypeHead
from mmrel.models.outputs import ClassLogits
from mmrel.ops.distillation import merged_cross_entropy, teacher_probabilities
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch


@MODELS.register_module()
class DistillationHead(PrototypeHead):
    """Cross-entropy between the teacher's distribution on one view and the student's on another.

    With q a global view seen by the teacher, v any other view seen by the student, c the centre::

        loss = mean over (q, v), v != q, of  - sum_k softmax((t_q - c) / tau_t)_k log softmax(s_v / tau_s)_k

    The teachers that share a student view are summed before one cross-entropy, which is the same number.

    The arguments are :class:`PrototypeHead`'s.
    """

    terms = ("loss_cls",)

    def forward(
        self, student: ClassLogits, teacher: ClassLogits, views: ViewBatch
    ) -> dict[str, Tensor]:
        """Loss and collapse signs of one batch.

        Args:
            student: class logits ``((V+L)*B, K)``.
            teacher: class logits ``(V*B, K)``, and their mean for the centre.
            views: the batch.

        Returns:
            ``loss_cls``, and two numbers to watch: the mean entropy of the teacher's distributions (near ln K:
            uniform collapse) and the divergence of their mean from uniform (near ln K: collapse to one prototype).
        """
        num_views = views.num_global + views.num_local
        if num_views < 2:
            raise ValueError(
                f"distillation compares different views, but the batch has {num_views} view"
            )
        probabilities = teacher_probabilities(
            teacher.cls, self.teacher_temperature.value, self.center.value
        )
        self.center.accumulate(teacher.mean, teacher.rows)
        loss = self._cross_entropy(student.cls, probabilities, views)
        return {"loss_cls": loss, **collapse_signs(probabilities)}

    def _cross_entropy(self, logits: Tensor, probabilities: Tensor, views: ViewBatch) -> Tensor:
        num_global, num_local = views.num_global, views.num_local
        logits = logits.unflatten(0, (num_global + num_local, -1))
        per_view = probabilities.unflatten(0, (num_global, -1))
        merged = per_view.sum(dim=0)
        others = torch.cat([merged - per_view, merged.expand(num_local, -1, -1)])
        total = merged_cross_entropy(logits, others, self.student_temperature).sum()
        return total / (num_global * (num_global + num_local - 1) * views.batch_size)


@torch.no_grad()
def collapse_signs(probabilities: Tensor) -> dict[str, Tensor]:
    """Two numbers that show a collapse early.

    Args:
        probabilities: ``(n, K)``, the teacher's distributions.

    Returns:
        ``stat/teacher_entropy``: mean entropy in nats; ``stat/teacher_kl_uniform``: KL(mean distribution, uniform).
    """
    mean = probabilities.mean(dim=0)
    entropy = torch.special.entr(probabilities).sum(dim=-1).mean()
    divergence = math.log(probabilities.shape[-1]) - torch.special.entr(mean).sum()
    return {"stat/teacher_entropy": entropy, "stat/teacher_kl_uniform": divergence}
