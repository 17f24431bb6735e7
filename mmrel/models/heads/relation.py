"""The two losses of SERE (TPAMI 2023, arXiv 2206.05184): spatial and channel self-relation across views.

The terms are all pairs (teacher on a global view q, student on another view v); the plain average over
them is the loss, 2 + 2 L terms for two global and L local views. Pairs whose crops do not overlap
stay in the spatial average, as in the official code: they contribute ln(S * S) and no gradient.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from mmrel.models.heads.base import Head, of_uniform
from mmrel.models.heads.matched_crops import Crops, teacher_products
from mmrel.models.outputs import RelationTokens
from mmrel.ops.attention_kernels import kernel_dtype
from mmrel.ops.distillation import check_temperature
from mmrel.ops.overlap import OUTSIDE, check_side, overlap_lattice
from mmrel.ops.relation import (
    check_heads,
    matched_spatial_loss,
    merged_channel_loss,
    sampled_spatial_loss,
)
from mmrel.ops.sampling_matrices import sampling_matrices
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch, cross_pairs


class RelationHead(Head):
    """What both heads share.

    Args:
        teacher_temperature: greater than 0; below 1 it sharpens the teacher's relation.
        student_temperature: greater than 0.
        neck: name of the neck whose tokens this head reads.
        loss_weight: factor of the loss in the total, applied by the algorithm.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        teacher_temperature: float,
        student_temperature: float = 1.0,
        neck: str = "relation",
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(neck, loss_weight, init_cfg)
        check_temperature(teacher_temperature, "teacher_temperature")
        check_temperature(student_temperature, "student_temperature")
        self.teacher_temperature = teacher_temperature
        self.student_temperature = student_temperature


@MODELS.register_module()
class SpatialRelationHead(RelationHead):
    """Token-by-token relations, compared on a lattice over the overlap of two crops.

    Args:
        num_heads: groups of channels with a relation each.
        overlap_side: lattice points per axis between two global views.
        local_overlap_side: the same between a local and a global view.
        teacher_temperature: see :class:`RelationHead`.
        student_temperature: see :class:`RelationHead`.
        neck: see :class:`RelationHead`.
        loss_weight: see :class:`RelationHead`.
        init_cfg: MMEngine's initialisation config.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"geometry"})
    terms = ("loss_spatial",)

    def __init__(
        self,
        num_heads: int,
        overlap_side: int = 13,
        local_overlap_side: int = 6,
        teacher_temperature: float = 0.5,
        student_temperature: float = 1.0,
        neck: str = "spatial_relation",
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(teacher_temperature, student_temperature, neck, loss_weight, init_cfg)
        check_side(overlap_side, "overlap_side")
        check_side(local_overlap_side, "local_overlap_side")
        self.num_heads = num_heads
        self.overlap_side = overlap_side
        self.local_overlap_side = local_overlap_side

    def forward(
        self, student: RelationTokens, teacher: RelationTokens, views: ViewBatch
    ) -> dict[str, Tensor]:
        """Loss of one batch.

        Args:
            student: predicted tokens of all crops.
            teacher: projected tokens of the global crops.
            views: the batch, with the crops' boxes.

        Returns:
            ``loss_spatial``; ``stat/spatial_of_uniform``, the loss as a share of a uniform student's, pairs that do
            not overlap included; and ``stat/overlap_rate``, the share of pairs that overlap.
        """
        check_views(student, views)
        if views.geometry is None:
            raise ValueError(
                "the batch has no boxes, which the spatial relation needs; use mmrel.MultiCrop and mmrel.PackViews"
            )
        boxes, num_global = views.geometry.boxes.transpose(0, 1), views.num_global
        crops = Crops(student.global_tokens, student.global_grid, boxes[:num_global])
        targets = Crops(teacher.global_tokens.detach(), teacher.global_grid, boxes[:num_global])
        pairs = cross_pairs(num_global)
        sums = self._summed(crops, targets, pairs, self.overlap_side)
        count, uniform = len(pairs), len(pairs) * _uniform(self.overlap_side)
        if student.local_tokens is not None and student.local_grid is not None:
            crops = Crops(student.local_tokens, student.local_grid, boxes[num_global:])
            pairs = [(q, v) for q in range(num_global) for v in range(views.num_local)]
            sums = sums + self._summed(crops, targets, pairs, self.local_overlap_side)
            count += len(pairs)
            uniform += len(pairs) * _uniform(self.local_overlap_side)
        loss, overlaps = (sums / count).unbind()
        return {
            "loss_spatial": loss,
            "stat/spatial_of_uniform": of_uniform(loss, uniform / count),
            "stat/overlap_rate": overlaps.detach(),
        }

    def _summed(
        self, crops: Crops, targets: Crops, pairs: list[tuple[int, int]], side: int
    ) -> Tensor:
        """Over the pairs (q, v), the sum of the losses and of the shares of images that overlap."""
        teacher_views, student_views = zip(*pairs, strict=True)
        teacher_lattice, student_lattice = overlap_lattice(
            targets.boxes_of(teacher_views), crops.boxes_of(student_views), side
        )
        settings = self.num_heads, self.teacher_temperature, self.student_temperature
        check_heads(crops.tokens.shape[2], self.num_heads)
        dtype = kernel_dtype(crops.tokens, crops.tokens.shape[2] // self.num_heads)
        if dtype is None:
            loss = matched_spatial_loss(
                crops.sample(student_views, student_lattice),
                targets.sample(teacher_views, teacher_lattice),
                *settings,
            )
        else:
            matrices = sampling_matrices(student_lattice, crops.grid, dtype)
            teacher = teacher_products(
                targets, teacher_lattice, len(pairs) // len(targets.boxes), dtype
            )
            batch = teacher.shape[2]
            loss = sampled_spatial_loss(
                crops.tokens.unflatten(0, (-1, batch)),
                matrices.unflatten(0, (-1, batch)),
                student_views,
                teacher,
                *settings,
            )
        overlaps = (teacher_lattice[:, 0, 0, 0] != OUTSIDE).to(loss.dtype).mean()
        return torch.stack([loss, overlaps]) * len(pairs)


@MODELS.register_module()
class ChannelRelationHead(RelationHead):
    """Channel-by-channel relations, compared wherever the crops lie.

    Args:
        teacher_temperature: see :class:`RelationHead`.
        student_temperature: see :class:`RelationHead`.
        neck: see :class:`RelationHead`.
        loss_weight: see :class:`RelationHead`.
        init_cfg: MMEngine's initialisation config.
    """

    terms = ("loss_channel",)

    def __init__(
        self,
        teacher_temperature: float = 0.1,
        student_temperature: float = 1.0,
        neck: str = "channel_relation",
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(teacher_temperature, student_temperature, neck, loss_weight, init_cfg)

    def forward(
        self, student: RelationTokens, teacher: RelationTokens, views: ViewBatch
    ) -> dict[str, Tensor]:
        """Loss of one batch.

        Args:
            student: predicted tokens of all crops.
            teacher: projected tokens of the global crops.
            views: the batch.

        Returns:
            ``loss_channel``, and ``stat/channel_of_uniform``, the loss as a share of a uniform student's.
        """
        check_views(student, views)
        num_global = views.num_global
        # One group per global view, since each has other teachers (all but itself); the local views
        # share theirs, so they are one group.
        students = list(student.global_tokens.unflatten(0, (num_global, 1, -1)).unbind())
        targets = [tuple(q for q in range(num_global) if q != v) for v in range(num_global)]
        if student.local_tokens is not None:
            students.append(student.local_tokens.unflatten(0, (views.num_local, -1)))
            targets.append(tuple(range(num_global)))
        loss = merged_channel_loss(
            students,
            teacher.global_tokens.unflatten(0, (num_global, -1)),
            targets,
            self.teacher_temperature,
            self.student_temperature,
        )
        uniform = math.log(student.global_tokens.shape[2])
        return {"loss_channel": loss, "stat/channel_of_uniform": of_uniform(loss, uniform)}


def _uniform(side: int) -> float:
    """Cross-entropy of one answer out of the lattice's points, all equally likely."""
    return math.log(side * side)


def check_views(student: RelationTokens, views: ViewBatch) -> None:
    """Raise ``ValueError`` unless there are views to compare and the tokens are those of the batch."""
    if views.num_global < 2:
        raise ValueError(
            f"the batch has {views.num_global} global view; self-relation compares at least 2, "
            "so cut more global crops"
        )
    tokens = student.local_tokens
    count = 0 if tokens is None else len(tokens)
    if count != views.num_local * views.batch_size:
        raise ValueError(
            f"the student gave tokens of {count} local crops, but the batch has {views.num_local} local views of "
            f"{views.batch_size} images; build mmrel.SelfRelation with local={views.num_local > 0}"
        )
