"""Video object segmentation by label propagation, and the metrics of DAVIS-2017 (arXiv 1704.00675).

The protocol of DINO (arXiv 2104.14294), which iBOT and SelfPatch share: the mask of the first frame travels along the
similarities of frozen patch tokens. Written from the formulas; the figures of the metrics are those of the official
toolkit's semi-supervised task.
"""

from mmrel.evaluation.davis.layout import (
    VideoSequence,
    davis_palette,
    list_frames,
    object_count,
    read_mask,
    read_split,
    write_mask,
)
from mmrel.evaluation.davis.masks import first_labels, label_mask, without_void
from mmrel.evaluation.davis.metrics import contour_accuracy, region_similarity
from mmrel.evaluation.davis.propagation import LabelPropagation, propagate
from mmrel.evaluation.davis.scores import DavisResult, ObjectScore, score_sequence, summarise

__all__ = [
    "DavisResult",
    "LabelPropagation",
    "ObjectScore",
    "VideoSequence",
    "contour_accuracy",
    "davis_palette",
    "first_labels",
    "label_mask",
    "list_frames",
    "object_count",
    "propagate",
    "read_mask",
    "read_split",
    "region_similarity",
    "score_sequence",
    "summarise",
    "without_void",
    "write_mask",
]
