"""Heads: they turn projected tokens into named losses."""

from mmrel.models.heads.contrastive import ContrastiveHead
from mmrel.models.heads.distillation import DistillationHead
from mmrel.models.heads.gram import GramAnchoringHead
from mmrel.models.heads.masked_distillation import MaskedDistillationHead
from mmrel.models.heads.patch_distillation import PatchDistillationHead
from mmrel.models.heads.patch_relation import (
    PatchPairRegressionHead,
    PatchPositionHead,
    PatchRelationHead,
)
from mmrel.models.heads.reconstruction import ReconstructionHead
from mmrel.models.heads.relation import ChannelRelationHead, SpatialRelationHead
from mmrel.models.heads.sit_classification import SiTClsHead

__all__ = [
    "ChannelRelationHead",
    "ContrastiveHead",
    "DistillationHead",
    "GramAnchoringHead",
    "MaskedDistillationHead",
    "PatchDistillationHead",
    "PatchPairRegressionHead",
    "PatchPositionHead",
    "PatchRelationHead",
    "ReconstructionHead",
    "SiTClsHead",
    "SpatialRelationHead",
]
