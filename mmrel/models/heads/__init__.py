"""Heads: they turn projected tokens into named losses."""

from mmrel.models.heads.distillation import DistillationHead
from mmrel.models.heads.masked_distillation import MaskedDistillationHead
from mmrel.models.heads.relation import ChannelRelationHead, SpatialRelationHead

__all__ = [
    "ChannelRelationHead",
    "DistillationHead",
    "MaskedDistillationHead",
    "SpatialRelationHead",
]
