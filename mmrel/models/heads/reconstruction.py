"""Reconstruction of corrupted pixels (SiT, arXiv 2104.03602)."""

from typing import ClassVar

from torch import Tensor

from mmrel.models.heads.base import Head
from mmrel.ops.reconstruction import masked_l1
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch


@MODELS.register_module()
class ReconstructionHead(Head):
    """L1 distance to the clean crop where the student's crop was corrupted, and nowhere else.

    With m the corrupted pixels of *all* crops of this process, counted per channel::

        loss = sum(m * |prediction - clean crop|) / sum(m)

    One mean over everything: an image with more corrupted pixels weighs more.

    Args:
        neck: name of the neck whose outputs this head reads.
        loss_weight: factor of the loss in the total (alpha, there called ``lmbda`` in the official code).
        init_cfg: MMEngine's initialisation config.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"corruption"})
    terms = ("loss_recon",)

    def __init__(
        self, neck: str = "decoder", loss_weight: float = 1.0, init_cfg: dict | None = None
    ) -> None:
        super().__init__(neck, loss_weight, init_cfg)

    def forward(self, student: Tensor, teacher: None, views: ViewBatch) -> dict[str, Tensor]:
        """Loss of one batch.

        Args:
            student: predicted crops ``(V*B, C, H, W)``.
            teacher: nothing.
            views: the batch, with ``corruption``.

        Returns:
            ``loss_recon``, and ``stat/recon_l1``, the same without weight.
        """
        if student.shape != views.global_crops.shape:
            raise ValueError(
                f"neck {self.neck!r} predicted crops of shape {tuple(student.shape)}, but the batch's have "
                f"{tuple(views.global_crops.shape)}; give the decoder the backbone's patch_size, and its "
                "in_channels as out_channels"
            )
        assert views.corruption is not None, "the algorithm already refused a clean batch"
        loss = masked_l1(student, views.global_crops, views.corruption)
        # Doubled and halved, which is exact: torch.compile would give one tensor for two results that are equal up to
        # copies, and as the statistic has no gradient, the loss would lose its own.
        return {"loss_recon": loss, "stat/recon_l1": loss.detach() * 2 / 2}
