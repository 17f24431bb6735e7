"""Heads: they turn projected tokens into named losses."""

from mmrel.models.heads.distillation import DistillationHead
from mmrel.models.heads.masked_distillation import MaskedDistillationHead

__all__ = ["DistillationHead", "MaskedDistillationHead"]
