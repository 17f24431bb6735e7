"""The patch tokens that Gram anchoring compares (DINOv3, arXiv 2508.10104, section 4)."""

import copy

from mmengine.model import BaseModule

from mmrel.models.outputs import RelationTokens
from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, ViewBatch


@MODELS.register_module()
class EarlyPatches(BaseModule):
    """Final patch tokens of the global crops: the student's, and as target those of the early teacher.

    Nothing is projected and nothing is learnt here: what is anchored is what the backbone hands to others.

    Args:
        init_cfg: MMEngine's initialisation config.
    """

    def student(self, tokens: NetworkTokens, views: ViewBatch) -> RelationTokens:
        """The student's patches."""
        return RelationTokens(tokens.global_crops.patches, tokens.global_crops.grid)

    def teacher(self, tokens: NetworkTokens, views: ViewBatch) -> RelationTokens | None:
        """The early teacher's patches; ``None`` while it does not take part."""
        early = tokens.early
        return None if early is None else RelationTokens(early.patches, early.grid)

    def teacher_copy(self) -> "EarlyPatches":
        """Another one."""
        return copy.deepcopy(self)
