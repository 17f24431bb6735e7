"""Protocols that judge frozen features, and the loss on held-out images."""

from mmrel.evaluation.held_out_loss import HeldOutLoss
from mmrel.evaluation.knn import extract_features, knn_accuracy, knn_classify, leave_one_out

__all__ = ["HeldOutLoss", "extract_features", "knn_accuracy", "knn_classify", "leave_one_out"]
