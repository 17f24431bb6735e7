"""Supervised models."""

from mmrel.models.classifiers.relvit import RelViTClassifier

__all__ = ["RelViTClassifier"]
