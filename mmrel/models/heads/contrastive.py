"""Contrast of whole images across views (MoCo v3, arXiv 2104.02057, alg. 1; SiT, arXiv 2104.03602)."""

import torch
from mmengine.dist import all_gather, get_rank
from torch import Tensor

from mmrel.models.heads.base import Head
from mmrel.ops.contrastive import info_nce, retrieval_accuracy
from mmrel.ops.distillation import check_temperature
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch, cross_pairs


@MODELS.register_module()
class ContrastiveHead(Head):
    """The student's feature of one view must single out the teacher's feature of another view of the same image.

    With q a view seen by the teacher and v another view seen by the student, both L2-normalised::

        loss = sum over (q, v), v != q, of  2 tau * mean over i of - log softmax_j(<s_v[i], t_q[j]> / tau)[i]

    j runs over the images of all processes. The sum (not the mean) over pairs and the factor 2 tau are those of the
    public code. What differs from it: the keys of all views travel in one collective.

    Args:
        temperature: tau, greater than 0.
        neck: name of the neck whose outputs this head reads.
        loss_weight: factor of the loss in the total.
        init_cfg: MMEngine's initialisation config.
    """

    terms = ("loss_contrast",)

    def __init__(
        self,
        temperature: float = 0.2,
        neck: str = "projection",
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(neck, loss_weight, init_cfg)
        check_temperature(temperature, "temperature")
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor, views: ViewBatch) -> dict[str, Tensor]:
        """Loss of one batch.

        Args:
            student: queries ``(V*B, D)``, view-major.
            teacher: keys ``(V*B, D)``, view-major.
            views: the batch.

        Returns:
            ``loss_contrast``, and ``stat/contrast_accuracy``, the share of queries whose most similar key is their
            own image's.
        """
        queries, keys = (self._per_view(features, views) for features in (student, teacher))
        keys = torch.cat(all_gather(keys.detach()), dim=1)
        if keys.shape[1] < 2:
            raise ValueError(
                "the batch has 1 image in all processes together, so that there is no other image to tell it from and "
                "the loss is 0 whatever the features; raise the batch size"
            )
        offset = get_rank() * views.batch_size
        pairs = cross_pairs(views.num_global)
        losses = [info_nce(queries[v], keys[q], self.temperature, offset) for q, v in pairs]
        found = [retrieval_accuracy(queries[v], keys[q], offset) for q, v in pairs]
        return {
            "loss_contrast": torch.stack(losses).sum(),
            "stat/contrast_accuracy": torch.stack(found).mean(),
        }

    def _per_view(self, features: Tensor, views: ViewBatch) -> Tensor:
        """``(V, B, D)``."""
        num_views, batch = views.num_global, views.batch_size
        if num_views < 2 or len(features) != num_views * batch:
            raise ValueError(
                f"the batch has {num_views} global view(s) of {batch} images and neck {self.neck!r} gave "
                f"{len(features)} features; contrast needs at least 2 global views and one feature of each"
            )
        return features.unflatten(0, (num_views, batch))
