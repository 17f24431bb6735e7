"""Protocols that judge frozen features, and the loss on held-out images."""

from mmrel.evaluation.held_out_loss import HeldOutLoss
from mmrel.evaluation.knn import extract_features, knn_accuracy, knn_classify, leave_one_out
from mmrel.evaluation.multi_head_accuracy import MultiHeadAccuracy

__all__ = [
    "HeldOutLoss",
    "MultiHeadAccuracy",
    "extract_features",
    "knn_accuracy",
    "knn_classify",
    "leave_one_out",
]
